"""Suppression as part of a graph: rows of fixed number for each image, and how many of them count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.export.plan import Suppression
from detkit.models.losses.rotated_boxes import prob_iou

# Rotated boxes are compared with each other, so that only the best ones take part.
MOST_ROTATED = 1024
# The decoded tensors that have no row for each prediction.
WHOLE = ('mask_protos',)
# The outputs of a suppression, beside those of the decoded tensors that it selects from.
ROWS = ('scores', 'labels', 'counts')


def suppressed(decoded: dict[str, Tensor], head: nn.Module, options: Suppression) -> dict[str, Tensor]:
    """Return the remaining predictions of decoded ones, of N = ``max_per_img`` rows an image, best first.

    A prior counts as in prediction: with its best class only, or with each, see ``takes_every_class``.

    Args:
        decoded: the output of the head's ``decode``; boxes and ``scores (B, P, C)`` among it.
        head: states in ``SUPPRESSION`` how: 'iou', 'prob_iou', or 'none' for a set of queries without duplicates.
        options: the thresholds.

    Returns:
        The decoded tensors with N rows in place of P, ``scores (B, N)``, ``labels (B, N)`` int64, and
        ``counts (B,)`` int64, behind which rows are 0.
    """
    bboxes, scores = decoded[name_of_bboxes(decoded)], decoded['scores']
    num_classes = scores.shape[2]
    num_labels = num_classes if takes_every_class(head, options) else 1
    if num_labels > 1:
        best, labels = scores.flatten(1), None  # (B, P * C): a pair of prior and class takes the place of a prior
    else:
        best, labels = scores.max(2)  # (B, P)
    best = torch.where(best > options.score_thr, best, torch.zeros_like(best))
    if head.SUPPRESSION == 'iou':
        ranked = _kept_by_iou(bboxes, best, labels, num_classes, options)
        order = None
    elif head.SUPPRESSION == 'prob_iou':
        ranked, order = _kept_by_prob_iou(bboxes, best, labels, num_classes, options)
    else:
        ranked, order = best, None
    ranked = F.pad(ranked, (0, options.max_per_img))  # there may be fewer priors than rows
    top, rows = ranked.topk(options.max_per_img, 1)  # (B, N)
    valid = top > 0
    if head.CAPPED_BY_PRIORS:
        valid = valid & (torch.arange(options.max_per_img, device=top.device) < scores.shape[1])
    rows = torch.where(valid, rows, torch.zeros_like(rows))
    rows = rows if order is None else order.gather(1, rows)
    images = torch.arange(rows.shape[0], device=rows.device).unsqueeze(1)
    priors = rows if num_labels == 1 else rows // num_labels

    def take(value: Tensor, index: Tensor) -> Tensor:
        flat = index + images * value.shape[1]  # (B, N), in the flattened (B, P); the number of priors may be traced
        chosen = value.flatten(0, 1).index_select(0, flat.flatten()).unflatten(0, (-1, options.max_per_img))
        return chosen * valid.view(valid.shape + (1,) * (chosen.dim() - 2)).to(chosen.dtype)

    taken = {
        name: value if name in WHOLE else take(value, priors) for name, value in decoded.items() if name != 'scores'
    }
    taken['labels'] = rows % num_labels if labels is None else take(labels, rows)
    return {**taken, 'scores': take(best, rows), 'counts': valid.sum(1)}


def name_of_bboxes(decoded: Mapping[str, Tensor]) -> str:
    """Return the name of a head's decoded boxes, upright or rotated."""
    return 'rbboxes' if 'rbboxes' in decoded else 'bboxes'


def takes_every_class(head: nn.Module, options: Suppression) -> bool:
    """Return whether a prior is reported with every class above the threshold, as predictions with these options do."""
    return head.MULTI_LABEL and not (options.class_agnostic and 'class_agnostic' in head.TEST_KEYS)


def _kept_by_iou(bboxes: Tensor, best: Tensor, labels: Tensor | None, num_classes: int, options: Suppression) -> Tensor:
    """Return the scores of the boxes that greedy suppression keeps, 0 for the others.

    Args:
        bboxes: ``(B, P, 4)``.
        best: ``(B, P)``, or ``(B, P * C)`` of pairs, as the result.
        labels: ``(B, P)``; None for pairs.
        num_classes: C.
        options: the thresholds.
    """
    if labels is None:
        scores = best.unflatten(1, (-1, num_classes)).transpose(1, 2)  # (B, C, P)
    elif options.class_agnostic or num_classes == 1:
        scores = best.unsqueeze(1)
    else:
        classes = torch.arange(num_classes, device=labels.device).view(1, -1, 1)
        scores = (labels.unsqueeze(1) == classes).to(best.dtype) * best.unsqueeze(1)
    image, label, prior = _NonMaxSuppression.apply(bboxes, scores, options.iou_thr).unbind(1)  # (N,) each
    index = image * best.shape[1] + (prior * num_classes + label if labels is None else prior)
    kept = torch.zeros_like(best).flatten().scatter(0, index, torch.ones_like(index, dtype=best.dtype))
    return kept.view_as(best) * best


class _NonMaxSuppression(torch.autograd.Function):
    """The operator of ONNX, and the same in PyTorch: ``(N, 3)`` int64 image, class and box of what is kept."""

    @staticmethod
    def forward(ctx: Any, bboxes: Tensor, scores: Tensor, iou_thr: float) -> Tensor:
        """Suppress boxes ``(B, P, 4)`` with ``scores (B, C, P)`` class by class; scores of 0 take no part."""
        from torchvision.ops import nms  # whose import takes as long as PyTorch's; opening a file needs none

        found = []
        for image in range(scores.shape[0]):
            for label in range(scores.shape[1]):
                index = (scores[image, label] > 0).nonzero().squeeze(1)
                kept = index[nms(bboxes[image][index], scores[image, label][index], iou_thr)]
                found.append(torch.stack([torch.full_like(kept, image), torch.full_like(kept, label), kept], 1))
        return torch.cat(found)

    @staticmethod
    def symbolic(g: Any, bboxes: Any, scores: Any, iou_thr: float) -> Any:
        """Return the node of ONNX."""
        most = g.op('Constant', value_t=torch.tensor([torch.iinfo(torch.int64).max >> 1]))
        iou, score = (g.op('Constant', value_t=torch.tensor([value])) for value in (float(iou_thr), 0.0))
        return g.op('NonMaxSuppression', bboxes, scores, most, iou, score)


def _kept_by_prob_iou(
    rbboxes: Tensor, best: Tensor, labels: Tensor | None, num_classes: int, options: Suppression
) -> tuple[Tensor, Tensor]:
    """Return the scores of the best boxes, 0 for those that any better one overlaps, and their indices in ``best``.

    Both are ``(B, K)``, of K boxes an image, at most ``MOST_ROTATED``. Arguments are those of ``_kept_by_iou``.
    """
    padded = F.pad(best, (0, MOST_ROTATED))  # there may be fewer
    scores, order = padded.topk(MOST_ROTATED, 1)  # (B, K)
    order = torch.where(scores > 0, order, torch.zeros_like(order))
    priors = order if labels is not None else order // num_classes
    chosen = rbboxes.gather(1, priors.unsqueeze(-1).expand(-1, -1, 5))
    overlaps = prob_iou(chosen.unsqueeze(2), chosen.unsqueeze(1))  # (B, K, K)
    better = torch.ones(MOST_ROTATED, MOST_ROTATED, dtype=torch.bool, device=scores.device).tril(-1)
    rivals = better & (scores > 0).unsqueeze(1)
    if not options.class_agnostic:
        own = labels.gather(1, order) if labels is not None else order % num_classes
        rivals = rivals & (own.unsqueeze(2) == own.unsqueeze(1))
    beaten = ((overlaps > options.iou_thr) & rivals).any(2)
    return scores * (~beaten).to(scores.dtype), order
