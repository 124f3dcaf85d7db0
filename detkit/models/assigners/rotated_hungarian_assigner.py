"""``RotatedHungarianAssigner``: one query for each rotated box, with the least total cost."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import RotatedQueryAssigner
from detkit.registry import ASSIGNERS
from detkit.structures.gt_batch import GtBatch

from .hungarian_assigner import HungarianAssigner


@ASSIGNERS.register_module()
class RotatedHungarianAssigner(HungarianAssigner, RotatedQueryAssigner):
    """``HungarianAssigner`` for ``gt.rbboxes`` and candidates ``(..., B, Q, 5)`` as ``RelativeRBBoxCoder`` makes them.

    Args:
        match_costs: configs of the costs that are added up; by default 2 * class (focal), 5 * L1 of centre and sides,
            2 * ProbIoU.
    """

    default_costs = (
        dict(type='FocalClassCost', weight=2.0),
        dict(type='BBoxL1Cost', weight=5.0),
        dict(type='ProbIoUCost', weight=2.0),
    )
    box_dims = 5

    def _boxes(self, bboxes: Tensor, gt: GtBatch) -> tuple[Tensor, Tensor]:
        """Return both in units of the root of the image's area, in which turned boxes keep their right angles."""
        sides = gt.img_shapes.flip(-1).repeat(1, 2).to(bboxes.dtype)  # (B, 4): w, h, w, h
        root = sides[:, :2].prod(1, keepdim=True).sqrt()
        one = torch.ones_like(root)
        relative = torch.cat((sides / root, one), dim=1).unsqueeze(1)  # (B, 1, 5)
        pixels = torch.cat((root.expand(-1, 4), one), dim=1).unsqueeze(1)
        return bboxes * relative, gt.rbboxes.to(bboxes.dtype) / pixels
