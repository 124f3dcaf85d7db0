"""``YOLOv5BBoxCoder``: the centre up to half a cell outside its own, the size up to four anchors."""

from __future__ import annotations

from torch import Tensor

from detkit.registry import CODERS

from .anchor_bbox_coder import AnchorBBoxCoder

# How near a sigmoid is taken to come to 0 and 1 when it is inverted.
_MARGIN = 1e-6


@CODERS.register_module()
class YOLOv5BBoxCoder(AnchorBBoxCoder):
    """x, y = 2 sigmoid - .5 + corner of the cell; w, h = anchor · (2 sigmoid)² (https://doi.org/10.5281/zenodo.3908559).

    So a neighbouring cell can tell a box whose centre lies near its border, and no size can run away.
    """

    def _shifts(self, raw: Tensor) -> Tensor:
        return 2 * raw.sigmoid() - 1

    def _ratios(self, raw: Tensor) -> Tensor:
        return (2 * raw.sigmoid()) ** 2

    def _raw_shifts(self, shifts: Tensor) -> Tensor:
        return ((shifts + 1) / 2).logit(_MARGIN)

    def _raw_ratios(self, ratios: Tensor) -> Tensor:
        return (ratios.clamp(min=0).sqrt() / 2).logit(_MARGIN)
