"""``YOLOv3AnchorAssigner``: the anchors of a similar shape in a box's cell learn it."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import AnchorAssigner
from detkit.registry import ASSIGNERS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, Candidates

from ..priors import AnchorPriors


@ASSIGNERS.register_module()
class YOLOv3AnchorAssigner(AnchorAssigner):
    """Assigner of the anchors in a box's cell whose IoU with the box, about one centre, exceeds a threshold.

    Several anchors of several levels may learn a box, or none may (ultralytics' YOLOv3, no paper).

    Args:
        iou_thr: the threshold.
    """

    def __init__(self, iou_thr: float = 0.2) -> None:
        if not 0 <= iou_thr < 1:
            raise ValueError(f'YOLOv3AnchorAssigner: iou_thr must be in [0, 1), found {iou_thr}')
        self.iou_thr = iou_thr

    @property
    def min_quality(self) -> float:
        """The ``shape_quality`` that an anchor must exceed to fit a box."""
        return self.iou_thr

    def shape_quality(self, sizes_wh: Tensor, shapes_wh: Tensor) -> Tensor:
        """Return the IoU ``(…, A)``, in [0, 1], of boxes ``(…, 1, 2)`` and anchors ``(A, 2)`` about one centre."""
        overlaps = torch.minimum(sizes_wh, shapes_wh).prod(-1)
        return overlaps / (sizes_wh.prod(-1) + shapes_wh.prod(-1) - overlaps)

    @torch.no_grad()
    def __call__(self, preds: Candidates, priors: AnchorPriors, gt: GtBatch) -> AssignResult:
        """Assign the anchors of one level; K is the number A of anchors in a cell.

        Args:
            preds: unused, but part of every assigner's signature.
            priors: the anchors of the level.
            gt: ground truth of M boxes for each image; M may be 0.
        """
        bboxes = gt.bboxes.to(priors.shapes_wh.dtype)
        sizes_wh = (bboxes[..., 2:] - bboxes[..., :2]).unsqueeze(2)  # (B, M, 1, 2)
        quality = self.shape_quality(sizes_wh, priors.shapes_wh)  # (B, M, A)
        valid = (quality > self.min_quality) & gt.valid.unsqueeze(-1)
        cells = (bboxes[..., :2] + bboxes[..., 2:]) / (2 * priors.stride)  # (B, M, 2)
        cell_idx = cell_index(cells[..., 0], cells[..., 1], priors.map_size).unsqueeze(-1)  # (B, M, 1)
        return slots_of(cell_idx, valid)


def cell_index(x: Tensor, y: Tensor, map_size: tuple[int, int]) -> Tensor:
    """Return the index, row by row, of the cell that holds or is nearest to a position given in cells."""
    height, width = map_size
    return y.long().clamp(0, height - 1) * width + x.long().clamp(0, width - 1)


def slots_of(cell_idx: Tensor, valid: Tensor) -> AssignResult:
    """Return a result in which every box keeps its own slots.

    Args:
        cell_idx: ``(B, M, N)`` int64, cells; each has A slots, one for each of its anchors.
        valid: ``(B, M, N * A)`` bool.
    """
    num_shapes = valid.shape[-1] // cell_idx.shape[-1]
    shape_idx = torch.arange(num_shapes, device=valid.device)
    prior_idx = (cell_idx.unsqueeze(-1) * num_shapes + shape_idx).flatten(2)  # (B, M, N, A) -> (B, M, N * A)
    gt_idx = torch.arange(valid.shape[1], device=valid.device).view(1, -1, 1).expand_as(prior_idx)
    return AssignResult(prior_idx.where(valid, torch.zeros_like(prior_idx)), valid, gt_idx)
