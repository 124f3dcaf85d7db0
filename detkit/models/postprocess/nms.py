"""Class-wise non-maximum suppression that compares no more candidates than necessary."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .torchvision_nms import nms

# Pixels beyond which boxes are compared as if they ended there: the farthest one decides how exact ``moved_apart`` is.
_FARTHEST = 1 << 24
# Number of candidates at first, multiplied by 4 as long as they leave fewer results than requested.
_FIRST_CANDIDATES = 1024


class Detections(NamedTuple):
    """The remaining candidates of one image, best first.

    Attributes:
        bboxes: ``(N, 4)`` xyxy.
        scores: ``(N,)``.
        labels: ``(N,)`` int64.
        prior_idx: ``(N,)`` int64, the prior of each; a prior may recur with several labels.
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
    """Suppress the duplicates of every image of a batch greedily.

    Args:
        bboxes: ``(B, P, 4)`` xyxy, or ``(B, P, C, 4)`` where each class has its own.
        scores: ``(B, P, C)``.
        score_thr: candidates have a score above this.
        iou_thr: a candidate is suppressed when its IoU with a better one of its class is above this.
        nms_pre: at most this many candidates per image, the best ones.
        max_per_img: at most this many results per image, the best ones.
        multi_label: a prior gives a candidate for every class above the threshold instead of only the best.
        class_agnostic: candidates suppress those of other classes too.
        classes: labels to keep; None keeps all.

    Returns:
        one ``Detections`` for each image.
    """
    results = []
    for image_bboxes, image_scores in zip(bboxes, scores, strict=True):
        candidates = find_candidates(image_bboxes, image_scores, score_thr, nms_pre, multi_label, classes)
        kept = _suppress(candidates, iou_thr, max_per_img, class_agnostic)
        results.append(Detections(*(field[kept] for field in candidates)))
    return results


# The options of batched_nms, which a config may set.
NMS_KEYS = tuple(name for name in inspect.signature(batched_nms).parameters if name not in ('bboxes', 'scores'))


def find_candidates(
    bboxes: Tensor, scores: Tensor, score_thr: float, nms_pre: int, multi_label: bool, classes: Sequence[int] | None
) -> Detections:
    """Return an image's candidates, best first.

    The arguments are those of ``batched_nms``, with ``bboxes (P, 4)``, ``(P, C, 4)``, or ``(P, 5)`` if rotated.
    """
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
    bboxes = bboxes[prior_idx] if bboxes.dim() == 2 else bboxes[prior_idx, labels]
    return Detections(bboxes, scores, labels, prior_idx)


def _suppress(candidates: Detections, iou_thr: float, max_per_img: int, class_agnostic: bool) -> Tensor:
    """Return the indices of the best ``max_per_img`` candidates that are kept.

    Whether a candidate is kept depends only on better ones. If enough of the best thousand are kept, the others need
    not be compared.
    """
    bboxes = candidates.bboxes if class_agnostic else moved_apart(candidates.bboxes, candidates.labels)
    count = _FIRST_CANDIDATES
    while True:
        kept = nms(bboxes[:count], candidates.scores[:count], iou_thr)
        if len(kept) >= max_per_img or count >= len(bboxes):
            return kept[:max_per_img]
        count *= 4


def moved_apart(bboxes: Tensor, labels: Tensor) -> Tensor:
    """Return boxes ``(N, 4)`` so that those of different labels ``(N,)`` do not overlap, and all else is as before.

    In double precision, so that the shift rounds nothing away; what is no number lies at 0.
    """
    bboxes = bboxes.double().nan_to_num(0.0).clamp(-_FARTHEST, _FARTHEST)
    if not len(bboxes):
        return bboxes
    span = bboxes.max() - bboxes.min() + 1
    return bboxes + (labels * span).unsqueeze(1)
