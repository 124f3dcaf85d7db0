"""``RotatedTaskAlignedAssigner``: task-aligned assignment of rotated boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import RotatedPointAssigner
from detkit.registry import ASSIGNERS
from detkit.structures.gt_batch import GtBatch

from ..losses.rotated_boxes import prob_iou
from .task_aligned_assigner import TaskAlignedAssigner


@ASSIGNERS.register_module()
class RotatedTaskAlignedAssigner(TaskAlignedAssigner, RotatedPointAssigner):
    """``TaskAlignedAssigner`` for ``gt.rbboxes``: candidates lie inside the rotated box, overlaps are ``prob_iou``.

    Args:
        topk, alpha, beta, min_side, keep: see ``TaskAlignedAssigner``; ``min_side`` concerns the rotated box's sides.
        smallest: least side in pixels of a box that is assigned; the overlap of a smaller one is meaningless, because
            its variances are almost 0.
    """

    def __init__(
        self,
        topk: int = 10,
        alpha: float = 0.5,
        beta: float = 6.0,
        min_side: float = 16.0,
        smallest: float = 2.0,
        keep: int | None = None,
    ) -> None:
        super().__init__(topk, alpha, beta, min_side, keep)
        self.smallest = smallest

    def _targets(self, gt: GtBatch) -> Tensor:
        return gt.rbboxes

    def _points_inside(self, points: Tensor, gt_bboxes: Tensor, valid: Tensor) -> Tensor:
        """Return ``(B, M, P)`` bool: which points lie in which rotated boxes ``(B, M, 5)``, small sides enlarged."""
        valid = valid & (gt_bboxes[..., 2:4] >= self.smallest).all(-1)
        halves = gt_bboxes[..., 2:4].clamp(min=self.min_side) / 2
        # A negative half contains no point, which leaves the padding out.
        halves = torch.where(valid.unsqueeze(-1), halves, torch.full_like(halves, -1))
        cos, sin = gt_bboxes[..., 4:].cos(), gt_bboxes[..., 4:].sin()  # (B, M, 1)
        x, y = points.unbind(-1)
        # In the box's frame; products before differences, so that only (B, M, P) sums are made.
        along = (x * cos).add_(y * sin).sub_(gt_bboxes[..., :1] * cos + gt_bboxes[..., 1:2] * sin)
        inside = along.abs_() <= halves[..., :1]
        across = (y * cos).sub_(x * sin).sub_(gt_bboxes[..., 1:2] * cos - gt_bboxes[..., :1] * sin)
        return inside.logical_and_(across.abs_() <= halves[..., 1:])

    def _overlap(self, gt_bboxes: Tensor, bboxes: Tensor) -> Tensor:
        return prob_iou(gt_bboxes, bboxes).clamp_(min=0)
