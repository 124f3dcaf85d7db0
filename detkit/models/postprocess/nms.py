"""Class-wise non-maximum suppression that looks at no more candidates than it must."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor

# Candidates looked at first; times 4 each time that they leave fewer results than asked for.
_FIRST_CANDIDATES = 1024


class Detections(NamedTuple):
    """What is left of one image's candidates, best first.

    Attributes:
        bboxes: ``(N, 4)`` xyxy.
        scores: ``(N,)``.
        labels: ``(N,)`` int64.
        prior_idx: ``(N,)`` int64, the prior each came from; a prior may recur with several labels.
    """

    bboxes: Tensor
    scores: Tensor
    labels: Tensor
    prior_idx: Tensor


def batched_nms(
    bboxes: Tensor,
    scores: Tensor,
    score_thr: float = 0.001,
    iou_thr: float = 0.7,
    nms_pre: int = 30000,
    max_per_img: int = 300,
    multi_label: bool = True,
    class_agnostic: bool = False,
    classes: Sequence[int] | None = None,
) -> list[Detections]:
    """Greedy suppression of every image of a batch.

    Args:
        bboxes: ``(B, P, 4)`` xyxy.
        scores: ``(B, P, C)``.
        score_thr: a candidate scores more than this.
        iou_thr: a candidate goes when its IoU with a better one of its class is above this.
        nms_pre: at most this many candidates an image, the best ones.
        max_per_img: at most this many results an image, the best ones.
        multi_label: a prior gives a candidate for every class above the threshold instead of only the best.
        class_agnostic: candidates suppress those of other classes too.
        classes: labels to keep; None keeps all.

    Returns:
        one ``Detections`` an image.
    """
    results = []
    for image_bboxes, image_scores in zip(bboxes, scores, strict=True):
        candidates = find_candidates(image_bboxes, image_scores, score_thr, nms_pre, multi_label, classes)
        kept = _suppress(candidates, iou_thr, max_per_img, class_agnostic)
        results.append(Detections(*(field[kept] for field in candidates)))
    return results


# The options above, for those who pass them on from a config.
NMS_KEYS = tuple(name for name in inspect.signature(batched_nms).parameters if name not in ('bboxes', 'scores'))


def find_candidates(
    bboxes: Tensor, scores: Tensor, score_thr: float, nms_pre: int, multi_label: bool, classes: Sequence[int] | None
) -> Detections:
    """An image's candidates, best first; arguments as ``batched_nms``, ``bboxes (P, 4)`` or rotated ``(P, 5)``."""
    if multi_label:
        prior_idx, labels = (scores > score_thr).nonzero(as_tuple=True)
        scores = scores[prior_idx, labels]
    else:
        scores, labels = scores.max(1)
        prior_idx = (scores > score_thr).nonzero().squeeze(1)
        scores, labels = scores[prior_idx], labels[prior_idx]
    if classes is not None:
        wanted = torch.isin(labels, torch.as_tensor(list(classes), dtype=labels.dtype, device=labels.device))
        prior_idx, scores, labels = prior_idx[wanted], scores[wanted], labels[wanted]
    if len(scores) > nms_pre:
        scores, best = scores.topk(nms_pre)
        prior_idx, labels = prior_idx[best], labels[best]
    scores, order = scores.sort(descending=True, stable=True)
    prior_idx, labels = prior_idx[order], labels[order]
    return Detections(bboxes[prior_idx], scores, labels, prior_idx)


def _suppress(candidates: Detections, iou_thr: float, max_per_img: int, class_agnostic: bool) -> Tensor:
    """Indices of the best ``max_per_img`` survivors.

    Whether a candidate survives depends on better ones alone. So if the best thousand leave enough survivors, these are
    what all candidates would have left, and the rest need not be compared.
    """
    bboxes = candidates.bboxes
    if not class_agnostic and len(bboxes):
        # Boxes of different classes are moved apart; in double precision, so that the shift rounds nothing away.
        span = (bboxes.max() - bboxes.min()).double() + 1
        bboxes = bboxes.double() + (candidates.labels * span).unsqueeze(1)
    count = _FIRST_CANDIDATES
    while True:
        kept = torchvision.ops.nms(bboxes[:count], candidates.scores[:count].to(bboxes.dtype), iou_thr)
        if len(kept) >= max_per_img or count >= len(bboxes):
            return kept[:max_per_img]
        count *= 4
