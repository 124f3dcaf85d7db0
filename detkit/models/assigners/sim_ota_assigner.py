"""``SimOTAAssigner``: each object is learnt by the cheapest priors near its centre, as many as it overlaps with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.protocols import PointAssigner
from detkit.registry import ASSIGNERS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, Candidates

from ..losses.boxes import aligned_iou
from ..priors import PointPriors
from .conflicts import resolve_conflicts

_OUTSIDE = 1e6  # cost of a prior that is near another object's centre
_LEAST_LOG = -100.0  # of a probability, as in torch's binary cross entropy
_EPS = 1e-8  # added to an overlap, whose logarithm is taken
# Pairs of an object and a prior that are measured at a time, in a dozen float32 tensors of this size.
_DENSE_PAIRS = 1 << 24


@ASSIGNERS.register_module()
class SimOTAAssigner(PointAssigner):
    """Dynamic number of priors of the least cost (SimOTA, YOLOX, arXiv:2107.08430, section 2.1).

    The candidates of an image are the points within ``radius`` strides, along each axis, of the centre of any of its
    objects. A pair costs the binary cross entropy of the point's class probabilities with the object's class, plus
    ``iou_weight`` times -log(IoU), plus 1e6 where the point is not near the centre of this object. The probabilities
    are the roots of class probability times objectness where the head predicts the latter. An object gets as many of
    its cheapest candidates as the sum of its ``topk`` best overlaps, rounded down, at least one; a point that several
    objects claim learns the one of the least cost. The soft class target of a positive is its overlap.

    Args:
        radius: largest distance of a point from the centre along each axis, in strides.
        topk: number of best overlaps that are summed up, and thus the largest number of an object's positives.
        iou_weight: weight of the overlap in the cost.

    Raises:
        ValueError: an argument is not above 0, or ``iou_weight`` is negative.
    """

    def __init__(self, radius: float = 1.5, topk: int = 10, iou_weight: float = 3.0) -> None:
        if radius <= 0 or topk < 1 or iou_weight < 0:
            raise ValueError(
                'SimOTAAssigner: radius must be above 0, topk at least 1 and iou_weight at least 0, found '
                f'{radius}, {topk} and {iou_weight}'
            )
        self.radius = radius
        self.topk = topk
        self.iou_weight = iou_weight

    @torch.no_grad()
    def __call__(self, preds: Candidates, priors: PointPriors, gt: GtBatch) -> AssignResult:
        """Return the slots of the boxes of B images: K = ``topk`` for each, P where there are fewer points.

        Args:
            preds: logits ``(B, P, C)`` of classes and ``(B, P)`` of objectness, or None, and boxes ``(B, P, 4)``, xyxy
                in pixels.
            priors: the P points.
            gt: ground truth of M boxes for each image; M may be 0.
        """
        points, bboxes = priors.points, preds.bboxes
        gt_bboxes = gt.bboxes.to(bboxes.dtype)
        centres = (gt_bboxes[..., :2] + gt_bboxes[..., 2:]) / 2  # (B, M, 2)
        limits = self.radius * priors.strides
        near = (points[:, 0] - centres[..., :1]).abs() < limits  # (B, M, P)
        near = near.logical_and_((points[:, 1] - centres[..., 1:]).abs() < limits).logical_and_(gt.valid.unsqueeze(-1))
        logits, obj_logits = preds.cls_logits, preds.obj_logits
        is_candidate = near.any(1)  # (B, P)
        chosen = None
        if near.device.type == 'cpu':
            # A few of the points are candidates. To count them, a GPU would have to synchronise.
            chosen, is_candidate = _in_front(is_candidate)  # (B, F) each
            near = near.gather(2, chosen.unsqueeze(1).expand(-1, near.shape[1], -1))
            bboxes, logits = (t.gather(1, chosen.unsqueeze(-1).expand(-1, -1, t.shape[-1])) for t in (bboxes, logits))
            obj_logits = None if obj_logits is None else obj_logits.gather(1, chosen)
        log_probs = F.logsigmoid(logits.to(bboxes.dtype))
        if obj_logits is not None:
            log_probs = (log_probs + F.logsigmoid(obj_logits.to(bboxes.dtype)).unsqueeze(-1)) / 2

        batch, max_instances, num_points = near.shape
        step = max(1, _DENSE_PAIRS // max(1, max_instances * num_points))
        slots = [
            self._assign(*(t[i : i + step] for t in (near, is_candidate, log_probs, bboxes, gt_bboxes, gt.labels)))
            for i in range(0, batch, step)
        ]
        prior_idx, gt_idx, valid, scores = (torch.cat(parts) for parts in zip(*slots, strict=True))
        if chosen is not None:
            prior_idx = chosen.gather(1, prior_idx.flatten(1)).view_as(prior_idx) if num_points else prior_idx
        # The number of slots depends on shapes alone, that of candidates does not.
        missing = min(self.topk, len(points)) - prior_idx.shape[-1]
        prior_idx, gt_idx, valid, scores = (F.pad(t, (0, missing)) for t in (prior_idx, gt_idx, valid, scores))
        return AssignResult(prior_idx.where(valid, torch.zeros_like(prior_idx)), valid, gt_idx, scores)

    def _assign(
        self, near: Tensor, is_candidate: Tensor, log_probs: Tensor, bboxes: Tensor, gt_bboxes: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return prior, object, validity and overlap of each slot, ``(b, M, K)``, of b images of F candidates."""
        pairs = is_candidate.unsqueeze(1)  # (b, 1, F)
        overlaps = aligned_iou(bboxes.unsqueeze(1), gt_bboxes.unsqueeze(2)).mul_(pairs)  # (b, M, F)
        costs = self._class_costs(log_probs, labels).sub_((overlaps + _EPS).log_().mul_(self.iou_weight))
        costs = costs.add_(~near, alpha=_OUTSIDE).masked_fill_(~pairs, torch.inf)
        topk = min(self.topk, overlaps.shape[-1])
        counts = overlaps.topk(topk, -1).values.sum(-1).long().clamp_(min=1)  # (b, M)
        costs_of_slots, prior_idx = costs.topk(topk, -1, largest=False)
        is_used = torch.arange(topk, device=near.device) < counts.unsqueeze(-1)
        valid = is_used & costs_of_slots.isfinite() & (labels >= 0).unsqueeze(-1)
        costs.masked_fill_((labels < 0).unsqueeze(-1), torch.inf)  # of padding, which never wins
        gt_idx, valid = resolve_conflicts(prior_idx, valid, -costs)
        flat_idx = gt_idx.flatten(1) * overlaps.shape[-1] + prior_idx.flatten(1)  # in the flattened (M, F)
        scores = overlaps.flatten(1).gather(1, flat_idx).view_as(prior_idx) * valid
        return prior_idx, gt_idx.where(valid, torch.zeros_like(gt_idx)), valid, scores

    @staticmethod
    def _class_costs(log_probs: Tensor, labels: Tensor) -> Tensor:
        """Return ``(b, M, F)``, the cross entropies of log probabilities ``(b, F, C)`` with labels ``(b, M)``."""
        log_rest = (-torch.expm1(log_probs)).log_().clamp_(min=_LEAST_LOG)
        log_probs = log_probs.clamp(min=_LEAST_LOG)
        classes = labels.clamp(min=0).unsqueeze(1).expand(-1, log_probs.shape[1], -1)
        own = (log_rest - log_probs).gather(2, classes)  # (b, F, M)
        return (own - log_rest.sum(-1, keepdim=True)).transpose(1, 2).contiguous()


def _in_front(flags: Tensor) -> tuple[Tensor, Tensor]:
    """Return the columns of the set flags of each row of ``(B, P)``, and which of them are meant, ``(B, F)`` each.

    F is the largest number of set flags in a row; behind fewer, columns are 0.
    """
    rows, columns = flags.nonzero(as_tuple=True)
    counts = flags.sum(1)
    most = int(counts.max()) if len(counts) else 0
    chosen = columns.new_zeros((len(flags), most))
    chosen[rows, flags.cumsum(1)[rows, columns] - 1] = columns
    return chosen, torch.arange(most) < counts.unsqueeze(1)
