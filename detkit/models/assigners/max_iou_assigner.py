"""``MaxIoUAssigner``: a prior learns the box that it overlaps most."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import BoxAssigner
from detkit.registry import ASSIGNERS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates

BACKGROUND, IGNORED = -1, -2


@ASSIGNERS.register_module()
class MaxIoUAssigner(BoxAssigner):
    """Assigner by thresholds of the IoU (Faster R-CNN, arXiv:1506.01497, section 3.1.2).

    Args:
        pos_iou_thr: a prior with at least this IoU with some box learns the one that it overlaps most.
        neg_iou_thr: a prior with less than this IoU with every box is background; between the two it learns nothing.
        match_low_quality: the priors that overlap a box more than all others do learn, too, whatever the IoU: the box
            that they themselves overlap most.

    Raises:
        ValueError: a threshold is not in [0, 1], or the lower one is above the other.
    """

    def __init__(self, pos_iou_thr: float = 0.5, neg_iou_thr: float = 0.5, match_low_quality: bool = False) -> None:
        if not 0 <= neg_iou_thr <= pos_iou_thr <= 1:
            raise ValueError(
                f'MaxIoUAssigner: 0 <= neg_iou_thr <= pos_iou_thr <= 1 must hold, found {neg_iou_thr} and {pos_iou_thr}'
            )
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_iou_thr
        self.match_low_quality = match_low_quality

    @torch.no_grad()
    def __call__(self, preds: Candidates, priors: Tensor, gt: GtBatch) -> Tensor:
        """Return the object of each prior, see ``BoxAssigner``."""
        shared = priors.dim() == 2
        if not gt.max_instances:
            shape = gt.batch_size, priors.shape[-2]
            return torch.full(shape, BACKGROUND, dtype=torch.int64, device=priors.device)
        # One image at a time: the overlaps of all would not fit where there are many objects.
        return torch.stack(
            [
                self._assign(priors if shared else priors[image], gt.bboxes[image].to(priors.dtype), gt.valid[image])
                for image in range(gt.batch_size)
            ]
        )

    def _assign(self, priors: Tensor, bboxes: Tensor, valid: Tensor) -> Tensor:
        """Return ``(P,)`` for the M boxes of an image, of which those that are not valid count for nothing."""
        overlaps = _pairwise_iou(bboxes, priors).masked_fill(~valid.unsqueeze(1), -1.0)  # (M, P)
        best, gt_idx = overlaps.max(0)
        result = torch.where(best < self.pos_iou_thr, IGNORED, gt_idx)
        result = torch.where(best < self.neg_iou_thr, BACKGROUND, result)
        if self.match_low_quality:
            most = overlaps.amax(1, keepdim=True)  # (M, 1)
            is_most = ((overlaps == most) & (most > 0)).any(0)
            result = torch.where(is_most, gt_idx, result)
        return result


def _pairwise_iou(bboxes: Tensor, priors: Tensor) -> Tensor:
    """Return the IoU ``(M, P)`` of boxes ``(M, 4)`` and ``(P, 4)``, 0 where both are empty."""
    x0, y0, x1, y1 = bboxes.unsqueeze(1).unbind(-1)  # (M, 1) each
    px0, py0, px1, py1 = priors.unbind(-1)
    widths = (torch.minimum(x1, px1) - torch.maximum(x0, px0)).clamp_(min=0)
    overlaps = (torch.minimum(y1, py1) - torch.maximum(y0, py0)).clamp_(min=0).mul_(widths)
    unions = (x1 - x0) * (y1 - y0) + (px1 - px0) * (py1 - py0) - overlaps
    return overlaps.div_(unions.clamp_(min=torch.finfo(unions.dtype).tiny))
