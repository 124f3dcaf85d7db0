"""``top_scores``: the best predictions of heads that make no duplicates."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from torch import Tensor

from .nms import Detections


def top_scores(
    bboxes: Sequence[Tensor],
    scores: Sequence[Tensor],
    score_thr: float = 0.001,
    max_per_img: int = 300,
    multi_label: bool = True,
    class_agnostic: bool = False,
    classes: Sequence[int] | None = None,
) -> list[Detections]:
    """Return the best predictions of every image, best first, without suppression.

    The best points by their best class are chosen first, then the best pairs of these points and a class.

    Args:
        bboxes: ``(P, 4)`` xyxy of each image, or ``(P, 5)`` if rotated.
        scores: ``(P, C)`` of each image.
        score_thr: results have a score above this.
        max_per_img: the largest number of points, and of results, of an image; as many as points where these are fewer.
        multi_label: whether a point may be reported with several classes.
        class_agnostic: whether a point is reported with its best class alone, whatever ``multi_label`` is.
        classes: labels to keep; None keeps all.

    Returns:
        A ``Detections`` for each image.
    """
    results = []
    for image_bboxes, image_scores in zip(bboxes, scores, strict=True):
        num_classes = image_scores.shape[-1]
        if classes is not None:
            kept = image_scores.new_zeros(num_classes)
            kept[list(classes)] = 1
            image_scores = image_scores * kept
        best, best_labels = image_scores.max(-1)
        count = min(max_per_img, len(best))
        best, points = best.topk(count)
        if multi_label and not class_agnostic:
            top, flat_idx = image_scores[points].flatten().topk(count)  # of (N * C,)
            points, labels = points[flat_idx // num_classes], flat_idx % num_classes
        else:
            top, labels = best, best_labels[points]
        found = top > score_thr
        points = points[found]
        results.append(Detections(image_bboxes[points], top[found], labels[found], points))
    return results


# The options of top_scores, which a config may set.
TOP_KEYS = tuple(name for name in inspect.signature(top_scores).parameters if name not in ('bboxes', 'scores'))
