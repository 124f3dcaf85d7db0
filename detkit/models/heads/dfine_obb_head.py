"""``DFINEOBBHead``: ``DFINEHead`` for rotated boxes."""

from __future__ import annotations

from torch import Tensor

from detkit.registry import HEADS

from .dfine_head import DFINEHead
from .query_rbboxes import QueryRBBoxes


@HEADS.register_module()
class DFINEOBBHead(QueryRBBoxes, DFINEHead):
    """``DFINEHead`` for rotated boxes: the boxes of queries have an angle, see ``QueryRBBoxes``.

    Distributions say how far the box's own edges move, along its sides. The angle is one number, as distances have no
    meaning for it; every layer adds to it.

    Args:
        loss_angle: config of the loss of angles.
        **kwargs: arguments of ``DFINEHead``.
    """

    takes = {**DFINEHead.takes, **QueryRBBoxes.rbbox_takes}
    default_parts = {**DFINEHead.default_parts, **QueryRBBoxes.rbbox_parts}

    def edge_targets(self, bboxes: Tensor, targets: Tensor, shapes: Tensor) -> Tensor:
        """Return where between the bins the targets' own edges are, ``(N, 4)``."""
        return self.decoder.bin_scale.turned_bins(bboxes, targets, shapes.to(bboxes.dtype).unbind(-1))
