"""``MaskTaskAlignedAssigner``: task-aligned assignment that also measures the masks."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import MaskPointAssigner
from detkit.registry import ASSIGNERS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates

from ..priors import PointPriors
from .task_aligned_assigner import EPS, TaskAlignedAssigner

# Number of masks that are computed at a time, to bound the memory.
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
    boxes = torch.arange(len(prior_idx), device=prior_idx.device).unsqueeze(1).expand_as(prior_idx).flatten()
    points, used = prior_idx.flatten(), valid.flatten()
    found = torch.zeros(len(points), dtype=preds.bboxes.dtype, device=points.device)
    # A GPU would have to synchronise to leave out what is not valid.
    slots = used.nonzero().squeeze(1) if used.device.type == 'cpu' else torch.arange(len(used), device=used.device)
    protos = preds.masks.protos[image].flatten(1)  # (D, h * w)
    height, width = preds.masks.protos.shape[-2:]
    x = torch.arange(width, device=points.device)
    y = torch.arange(height, device=points.device)
    masks = gt.masks[image]
    for part in slots.split(_CHUNK):
        x0, y0, x1, y1 = (preds.bboxes[image, points[part]] * scale).T.unsqueeze(-1)  # (n, 1) each
        columns, rows = (x >= x0) & (x < x1), (y >= y0) & (y < y1)
        positive = preds.masks.coeffs[image, points[part]] @ protos > 0
        mask = positive.view(-1, height, width) & columns.unsqueeze(1) & rows.unsqueeze(2)
        target = masks[boxes[part]] if masks.dim() == 3 else masks == (boxes[part] + 1).view(-1, 1, 1)
        shared = (mask & target).sum((1, 2))
        union = mask.sum((1, 2)) + target.sum((1, 2)) - shared
        found[part] = shared.to(found.dtype) / (union + EPS)
    return (found * used).view_as(prior_idx)
