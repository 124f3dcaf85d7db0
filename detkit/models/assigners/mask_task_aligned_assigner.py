"""``MaskTaskAlignedAssigner``: task-aligned assignment that also measures the masks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from detkit.protocols import MaskPointAssigner
from detkit.registry import ASSIGNERS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates

from ..priors import PointPriors
from .task_aligned_assigner import EPS, TaskAlignedAssigner

# Number of masks that a GPU computes at a time, to bound the memory.
_CHUNK = 256
# Size of a box's shortlist, in multiples of ``topk``.
_SHORTLIST = 3


@ASSIGNERS.register_module()
class MaskTaskAlignedAssigner(TaskAlignedAssigner, MaskPointAssigner):
    """``TaskAlignedAssigner`` whose overlap is the mean of that of the boxes and that of the masks, as in YOLO26.

    Masks are computed for the 3 ``topk`` best points inside a box by the overlap of boxes alone; those of the others
    count as 0. A predicted mask is that of the logits above 0 inside the predicted box; the overlap is the IoU.

    Args:
        topk, alpha, beta, min_side, keep: see ``TaskAlignedAssigner``.
    """

    def _measure(
        self, inside: Tensor, preds: Candidates, gt_bboxes: Tensor, priors: PointPriors, gt: GtBatch
    ) -> tuple[Tensor, Tensor]:
        overlaps, metrics = super()._measure(inside, preds, gt_bboxes, priors, gt)
        count = min(_SHORTLIST * self.topk, metrics.shape[-1])
        prior_idx = metrics.masked_fill(~inside, -1).topk(count, -1).indices  # (B, M, S)
        width = (priors.points[:, 0] + priors.strides / 2).amax()  # of the network's input
        scale = preds.masks.protos.shape[-1] / width
        mask_overlaps = torch.zeros_like(overlaps[..., :1]).expand_as(prior_idx).contiguous()
        for image, valid in enumerate(inside.gather(-1, prior_idx)):
            mask_overlaps[image] = _mask_overlaps(preds, gt, image, prior_idx[image], valid, scale)
        overlaps = (overlaps / 2).scatter_add_(-1, prior_idx, mask_overlaps / 2)
        return overlaps, self._metrics(preds.cls_logits, gt.labels, overlaps)


def _mask_overlaps(
    preds: Candidates, gt: GtBatch, image: int, prior_idx: Tensor, valid: Tensor, scale: Tensor
) -> Tensor:
    """Return the overlaps ``(M, S)`` of the masks of points and boxes of an image, 0 where ``valid (M, S)`` is False.

    Args:
        prior_idx: ``(M, S)``.
        scale: mask pixels per pixel.
    """
    protos, points = preds.masks.protos[image], prior_idx.flatten()
    bboxes = preds.bboxes[image, points] * scale  # (M * S, 4)
    x = torch.arange(protos.shape[2], device=points.device)
    y = torch.arange(protos.shape[1], device=points.device)
    found = bboxes.new_zeros(len(points))
    groups = _groups_by_box if points.device.type == 'cpu' else _groups_by_chunk
    for slots, (rows, columns), targets in groups(bboxes, valid, gt.masks[image]):
        x0, y0, x1, y1 = bboxes[slots].T.unsqueeze(-1)  # (n, 1) each
        window = protos[:, rows, columns]  # (D, h', w')
        positive = preds.masks.coeffs[image, points[slots]] @ window.flatten(1) > 0  # (n, h' * w')
        across, down = (x[columns] >= x0) & (x[columns] < x1), (y[rows] >= y0) & (y[rows] < y1)
        masks = positive.view(len(slots), *window.shape[1:]) & across.unsqueeze(1) & down.unsqueeze(2)
        shared = (masks & targets[:, rows, columns]).sum((1, 2))
        union = masks.sum((1, 2)) + targets.sum((1, 2)) - shared
        found[slots] = shared.to(found.dtype) / (union + EPS)
    return (found * valid.flatten()).view_as(prior_idx)


# Slots, the window's rows and columns, which holds their predicted boxes, and their objects' masks, ``(n, h, w)`` or
# ``(1, h, w)``.
_Group = tuple[Tensor, tuple[slice, slice], Tensor]


def _groups_by_box(bboxes: Tensor, valid: Tensor, masks: Tensor) -> Iterator[_Group]:
    """Yield the valid slots of one box at a time, for a CPU."""
    height, width = masks.shape[-2:]
    slots = torch.arange(valid.numel()).view_as(valid)
    for box in valid.any(1).nonzero().flatten().tolist():
        own = slots[box, valid[box]]
        x0, y0 = bboxes[own, :2].amin(0).floor().clamp(min=0).int().tolist()
        x1, y1 = bboxes[own, 2:].amax(0).ceil().clamp(min=0).int().tolist()
        target = masks[box] if masks.dim() == 3 else masks == box + 1
        yield own, (slice(min(y0, height), y1), slice(min(x0, width), x1)), target.unsqueeze(0)


def _groups_by_chunk(bboxes: Tensor, valid: Tensor, masks: Tensor) -> Iterator[_Group]:
    """Yield chunks of all slots, for a GPU, which would have to synchronise to leave any out."""
    boxes = torch.arange(len(valid), device=valid.device).unsqueeze(1).expand_as(valid).flatten()
    for slots in torch.arange(valid.numel(), device=valid.device).split(_CHUNK):
        own = boxes[slots]
        targets = masks[own] if masks.dim() == 3 else masks == (own + 1).view(-1, 1, 1)
        yield slots, (slice(None), slice(None)), targets
