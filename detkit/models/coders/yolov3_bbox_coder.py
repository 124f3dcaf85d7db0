"""``YOLOv3BBoxCoder``: the centre inside the cell, the size an exponential."""

from __future__ import annotations

from math import log

from torch import Tensor

from detkit.registry import CODERS

from .anchor_bbox_coder import AnchorBBoxCoder

# How near a sigmoid is taken to come to 0 and 1 when it is inverted.
_MARGIN = 1e-6


@CODERS.register_module()
class YOLOv3BBoxCoder(AnchorBBoxCoder):
    """x, y = sigmoid + corner of the cell; w, h = anchor · exp (arXiv:1804.02767, section 2.1).

    Args:
        max_ratio: limit of the exponential. What exceeds it is no box; without a limit an early step of training can
            reach infinity.
    """

    def __init__(self, max_ratio: float = 1000.0) -> None:
        if max_ratio <= 1:
            raise ValueError(f'YOLOv3BBoxCoder: max_ratio must be more than 1, found {max_ratio}')
        self.max_ratio = max_ratio

    def _shifts(self, raw: Tensor) -> Tensor:
        return raw.sigmoid() - 0.5

    def _ratios(self, raw: Tensor) -> Tensor:
        # Limited before the exponential: the gradient of an infinity clamped away would be NaN.
        return raw.clamp(max=log(self.max_ratio)).exp()

    def _raw_shifts(self, shifts: Tensor) -> Tensor:
        return (shifts + 0.5).logit(_MARGIN)

    def _raw_ratios(self, ratios: Tensor) -> Tensor:
        return ratios.clamp(_MARGIN, self.max_ratio).log()
