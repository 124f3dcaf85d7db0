"""Non-maximum suppression of rotated boxes in tensor arithmetic, on any device."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

from detkit.structures.rotated_iou import nearby_pairs, rotated_iou

from ..losses.rotated_boxes import prob_iou
from .nms import Detections, find_candidates

OVERLAPS = ('prob_iou', 'iou')

# Number of boxes in a step, which compares each with all better boxes, or with those of them that were kept.
_BLOCK = 512


def batched_rotated_nms(
    rbboxes: Tensor,
    scores: Tensor,
    score_thr: float = 0.01,
    iou_thr: float = 0.7,
    nms_pre: int = 30000,
    max_per_img: int = 300,
    multi_label: bool = True,
    class_agnostic: bool = False,
    classes: Sequence[int] | None = None,
    overlap: str = 'prob_iou',
    greedy: bool = False,
) -> list[Detections]:
    """Suppress the duplicates of every image of a batch.

    Args:
        rbboxes: ``(B, P, 5)``.
        scores: ``(B, P, C)``.
        score_thr, nms_pre, max_per_img, multi_label, class_agnostic, classes: see ``batched_nms``.
        iou_thr, overlap, greedy: see ``rotated_nms``.

    Returns:
        one ``Detections`` for each image, whose ``bboxes`` are ``(N, 5)``.
    """
    results = []
    for image_rbboxes, image_scores in zip(rbboxes, scores, strict=True):
        candidates = find_candidates(image_rbboxes, image_scores, score_thr, nms_pre, multi_label, classes)
        labels = None if class_agnostic else candidates.labels
        kept = rotated_nms(candidates.bboxes, labels, iou_thr, max_per_img, overlap, greedy)
        results.append(Detections(*(field[kept] for field in candidates)))
    return results


# The options of batched_rotated_nms, which a config may set.
ROTATED_NMS_KEYS = tuple(
    name for name in inspect.signature(batched_rotated_nms).parameters if name not in ('rbboxes', 'scores')
)


def rotated_nms(
    rbboxes: Tensor,
    labels: Tensor | None,
    iou_thr: float,
    max_num: int | None = None,
    overlap: str = 'iou',
    greedy: bool = True,
) -> Tensor:
    """Return the indices of the boxes that no better box suppresses, best first.

    Args:
        rbboxes: ``(N, 5)``, best first.
        labels: ``(N,)``; boxes of different labels do not suppress each other. None puts all boxes into one class.
        iou_thr: a box is suppressed when its overlap with a better one is above this.
        max_num: the greatest number of results; None sets no limit.
        overlap: 'iou', the exact intersection over union, or 'prob_iou', see ``prob_iou``.
        greedy: True lets only kept boxes suppress others; False lets all do so (Fast NMS, arXiv:1904.02689), which
            keeps fewer.

    Raises:
        ValueError: ``overlap`` is unknown.
    """
    if overlap not in OVERLAPS:
        raise ValueError(f'overlap must be one of {OVERLAPS}, found {overlap!r}')
    count = len(rbboxes)
    limit = count if max_num is None else max_num
    labels = torch.zeros(count, dtype=torch.int64, device=rbboxes.device) if labels is None else labels
    indices = torch.arange(count, device=rbboxes.device)
    kept = indices[:0]
    for start in range(0, count, _BLOCK):
        block = indices[start : start + _BLOCK]
        against = kept if greedy else indices[:start]
        suppressed = _overlapping(rbboxes, labels, block, against, iou_thr, overlap).any(1)
        within = _overlapping(rbboxes, labels, block, block, iou_thr, overlap).tril(-1)
        if greedy:
            stays = ~suppressed
            while True:  # each round settles at least one more box of every chain (Cluster-NMS, arXiv:2005.03572)
                next_stays = ~suppressed & ~(within & stays).any(1)
                if torch.equal(next_stays, stays):
                    break
                stays = next_stays
        else:
            stays = ~(suppressed | within.any(1))
        kept = torch.cat([kept, block[stays]])
        if len(kept) >= limit:
            break
    return kept[:limit]


def _overlapping(
    rbboxes: Tensor, labels: Tensor, rows: Tensor, columns: Tensor, iou_thr: float, overlap: str
) -> Tensor:
    """Return ``(rows, columns)`` bool: which pairs of a class overlap by more than ``iou_thr``."""
    result = torch.zeros(len(rows), len(columns), dtype=torch.bool, device=rbboxes.device)
    if not len(columns):
        return result
    firsts, seconds = rbboxes[rows], rbboxes[columns]
    same = labels[rows][:, None] == labels[columns]
    if overlap == 'iou':
        i, j = nearby_pairs(firsts, seconds, same)
        overlaps = rotated_iou(firsts[i], seconds[j])
    else:
        i, j = _near_pairs(firsts, seconds, same, iou_thr)
        overlaps = prob_iou(firsts[i], seconds[j])
    result[i, j] = overlaps > iou_thr
    return result


def _near_pairs(rbboxes: Tensor, others: Tensor, allowed: Tensor, iou_thr: float) -> tuple[Tensor, Tensor]:
    """Return the pairs whose centres are near enough for a ``prob_iou`` above ``iou_thr``.

    It needs a Bhattacharyya distance of at most d = -ln(1 - (1 - iou_thr)²), a quarter of the Mahalanobis part alone,
    which is least along the longest sides: |centres|² <= 4 d (longest² + longest²) / 12.
    """
    farthest = -log(max(1 - (1 - iou_thr) ** 2, 1e-12)) + 1e-3
    reach, other_reach = (b[:, 2:4].amax(1).square() * (farthest / 3) for b in (rbboxes, others))
    distances = (rbboxes[:, None, :2] - others[None, :, :2]).square().sum(-1)
    return (allowed & (distances <= reach[:, None] + other_reach + 1e-6)).nonzero(as_tuple=True)
