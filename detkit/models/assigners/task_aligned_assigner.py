"""``TaskAlignedAssigner``: priors that already classify and localise a box best learn it."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import PointAssigner
from detkit.registry import ASSIGNERS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, Candidates

from ..losses.boxes import aligned_iou
from ..priors import PointPriors
from .conflicts import resolve_conflicts

# Keeps the quotient of soft targets finite; negligible beside any relevant metric.
EPS = 1e-9
# Pairs of a box and a point that a GPU measures at a time, in a dozen float32 tensors of this size.
DENSE_PAIRS = 1 << 24


@ASSIGNERS.register_module()
class TaskAlignedAssigner(PointAssigner):
    """Top candidates by score^alpha * overlap^beta (TOOD, arXiv:2108.07755, as YOLOv8 uses it).

    The candidates of a box are the points inside it; the ``topk`` best are positive, even where their metric is 0. A
    point among the best of several boxes is assigned to the box that overlaps most with the point's prediction, among
    *all* boxes that contain the point. The soft class target of a positive is its metric, scaled so that the best
    positive of a box gets the best overlap of the box's positives.

    Args:
        topk: number of positives of a box.
        alpha: exponent of the class score.
        beta: exponent of the overlap (CIoU, at least 0).
        min_side: least side in pixels of a box when its candidates are collected, as a smaller box may contain no
            point; the centre is kept. 0 takes boxes as they are.
        keep: number of positives of a box that stay, those of the best metrics, once each point is assigned to one box;
            None keeps all. 1 makes the assignment one-to-one, as that of YOLO26's head without duplicates.
    """

    def __init__(
        self,
        topk: int = 10,
        alpha: float = 0.5,
        beta: float = 6.0,
        min_side: float = 16.0,
        keep: int | None = None,
    ) -> None:
        self.topk = topk
        self.alpha = alpha
        self.beta = beta
        self.min_side = min_side
        self.keep = keep

    @torch.no_grad()
    def __call__(self, preds: Candidates, priors: PointPriors, gt: GtBatch) -> AssignResult:
        """Return the slots of the boxes of B images: K = ``keep`` or ``topk`` for each, P where there are fewer points.

        Args:
            preds: logits ``(B, P, C)`` and boxes ``(B, P, 4)``, xyxy in pixels; a class score is multiplied by the
                objectness where there are logits ``(B, P)`` of it.
            priors: the P points.
            gt: ground truth of M boxes for each image; M may be 0.
        """
        gt_bboxes = self._targets(gt).to(preds.bboxes.dtype)
        inside = self._eligible(priors, gt_bboxes, gt.valid)
        overlaps, metrics = self._measure(inside, preds, gt_bboxes, priors, gt)
        if preds.obj_logits is not None:
            metrics = metrics * preds.obj_logits.to(metrics.dtype).sigmoid().pow(self.alpha).unsqueeze(1)
        prior_idx = metrics.topk(min(self.topk, len(priors.points)), dim=-1).indices
        valid = inside.gather(-1, prior_idx)
        gt_idx, valid = resolve_conflicts(prior_idx, valid, overlaps)
        if self.keep is not None:
            prior_idx, gt_idx, valid = self._keep_best(prior_idx, gt_idx, valid, metrics)
        scores = self._soft_targets(prior_idx, gt_idx, valid, overlaps, metrics)
        return AssignResult(prior_idx.where(valid, torch.zeros_like(prior_idx)), valid, gt_idx, scores)

    def _targets(self, gt: GtBatch) -> Tensor:
        """Return the boxes to assign, ``(B, M, 4)``, in the form of the predicted ones."""
        return gt.bboxes

    def _overlap(self, gt_bboxes: Tensor, bboxes: Tensor) -> Tensor:
        """Return the overlaps ``(...)``, at least 0, of boxes ``(..., 4)`` with the boxes of the same indices."""
        return aligned_iou(gt_bboxes, bboxes, 'ciou').clamp_(min=0)

    def _eligible(self, priors: PointPriors, gt_bboxes: Tensor, valid: Tensor) -> Tensor:
        """Return ``(B, M, P)`` bool: which points are candidates of which boxes."""
        return self._points_inside(priors.points, gt_bboxes, valid)

    def _points_inside(self, points: Tensor, gt_bboxes: Tensor, valid: Tensor) -> Tensor:
        """Return ``(B, M, P)`` bool: which points lie inside which boxes; small sides are enlarged."""
        centres = (gt_bboxes[..., :2] + gt_bboxes[..., 2:]) / 2
        sides = gt_bboxes[..., 2:] - gt_bboxes[..., :2]
        halves = sides.clamp(min=self.min_side) / 2
        small = sides < self.min_side
        lows = torch.where(small, centres - halves, gt_bboxes[..., :2]) + EPS  # (B, M, 2)
        highs = torch.where(small, centres + halves, gt_bboxes[..., 2:]) - EPS
        # An empty interval contains no point, which leaves the padding out.
        lows = torch.where(valid.unsqueeze(-1), lows, torch.full_like(lows, torch.inf))
        x, y = points.unbind(-1)
        inside = (x > lows[..., :1]) & (x < highs[..., :1])
        return inside.logical_and_(y > lows[..., 1:]).logical_and_(y < highs[..., 1:])

    def _measure(
        self, inside: Tensor, preds: Candidates, gt_bboxes: Tensor, priors: PointPriors, gt: GtBatch
    ) -> tuple[Tensor, Tensor]:
        """Return overlaps and metrics ``(B, M, P)``, which are 0 for points outside boxes."""
        measure = self._measure_pairs if inside.device.type == 'cpu' else self._measure_all
        return measure(inside, preds.cls_logits, preds.bboxes, gt_bboxes, gt.labels)

    def _metrics(self, cls_logits: Tensor, labels: Tensor, overlaps: Tensor) -> Tensor:
        """Return the metrics ``(B, M, P)`` of overlaps ``(B, M, P)``."""
        classes = labels.clamp(min=0).unsqueeze(1).expand(-1, cls_logits.shape[1], -1)
        # (B, P, C) -> (B, M, P)
        return self._metric(cls_logits.gather(2, classes).transpose(1, 2).to(overlaps.dtype), overlaps)

    def _metric(self, logits: Tensor, overlaps: Tensor) -> Tensor:
        return logits.sigmoid().pow(self.alpha) * overlaps.pow(self.beta)

    def _measure_pairs(
        self, inside: Tensor, cls_logits: Tensor, bboxes: Tensor, gt_bboxes: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return overlaps and metrics ``(B, M, P)``, computed only for points inside boxes and 0 elsewhere.

        This is for the CPU; to count such pairs, a GPU would have to synchronise.
        """
        image, box, point = inside.nonzero(as_tuple=True)
        pair_overlaps = self._overlap(gt_bboxes[image, box], bboxes[image, point])
        logits = cls_logits[image, point, labels[image, box]].to(bboxes.dtype)
        overlaps, metrics = bboxes.new_zeros(inside.shape), bboxes.new_zeros(inside.shape)
        overlaps[image, box, point] = pair_overlaps
        metrics[image, box, point] = self._metric(logits, pair_overlaps)
        return overlaps, metrics

    def _measure_all(
        self, inside: Tensor, cls_logits: Tensor, bboxes: Tensor, gt_bboxes: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the same by dense arithmetic without synchronisation, a few images at a time to bound the memory."""
        batch, max_instances, num_points = inside.shape
        overlaps, metrics = bboxes.new_zeros(inside.shape), bboxes.new_zeros(inside.shape)
        step = max(1, DENSE_PAIRS // max(1, max_instances * num_points))
        for start in range(0, batch, step):
            part = slice(start, start + step)
            pair_overlaps = self._overlap(gt_bboxes[part].unsqueeze(2), bboxes[part].unsqueeze(1))
            overlaps[part] = pair_overlaps.mul_(inside[part])  # (b, M, P)
            metrics[part] = self._metrics(cls_logits[part], labels[part], pair_overlaps)
        return overlaps, metrics

    def _keep_best(
        self, prior_idx: Tensor, gt_idx: Tensor, valid: Tensor, metrics: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return points, boxes and validity of the ``keep`` best slots of each box, ``(B, M, keep)`` each."""
        batch, max_instances, num_points = metrics.shape
        # A row of each box: the metric at its positives, -1 at other points. Invalid slots write to one place more.
        flat_idx = torch.where(valid, gt_idx * num_points + prior_idx, max_instances * num_points).flatten(1)
        positives = metrics.new_full((batch, max_instances * num_points + 1), -1.0)
        own = torch.cat([metrics.flatten(1), metrics.new_full((batch, 1), -1.0)], 1)
        positives = positives.scatter(1, flat_idx, own.gather(1, flat_idx))[:, :-1].view_as(metrics)
        best, prior_idx = positives.topk(min(self.keep, num_points), -1)
        gt_idx = torch.arange(max_instances, device=metrics.device).view(1, -1, 1).expand_as(prior_idx)
        return prior_idx, gt_idx, best >= 0

    @staticmethod
    def _soft_targets(prior_idx: Tensor, gt_idx: Tensor, valid: Tensor, overlaps: Tensor, metrics: Tensor) -> Tensor:
        """Return ``(B, M, K)``: metric * (best overlap of the box's positives) / (their best metric)."""
        batch, max_instances, num_points = overlaps.shape
        if max_instances == 0:
            return overlaps.new_zeros(prior_idx.shape)
        flat_gt = gt_idx.flatten(1)
        flat_idx = flat_gt * num_points + prior_idx.flatten(1)  # in the flattened (M, P)
        slot_overlaps = overlaps.flatten(1).gather(1, flat_idx) * valid.flatten(1)
        slot_metrics = metrics.flatten(1).gather(1, flat_idx) * valid.flatten(1)
        best = overlaps.new_zeros(batch, max_instances)
        best_overlaps = best.scatter_reduce(1, flat_gt, slot_overlaps, 'amax').gather(1, flat_gt)
        best_metrics = best.scatter_reduce(1, flat_gt, slot_metrics, 'amax').gather(1, flat_gt)
        return (slot_metrics * best_overlaps / (best_metrics + EPS)).view_as(prior_idx)
