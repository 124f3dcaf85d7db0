"""Agreement of the predictions of two ways to run one network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from detkit.structures.data_sample import DetDataSample

# Predictions further apart, by the greatest difference of their boxes' numbers in pixels, are no partners.
_FARTHEST = 8.0


@dataclass(frozen=True)
class Agreement:
    """The differences between two lists of predictions on the same images.

    Attributes:
        bboxes: greatest difference of the boxes' numbers of partners, in pixels of the images; None where no prediction
            has a partner, or there are no boxes.
        scores: greatest difference of partners' scores, or of a classifier's probabilities; None without any.
        unmatched: predictions of either without a partner of the same class in the other.
        total: predictions of both.
    """

    bboxes: float | None
    scores: float | None
    unmatched: int
    total: int


def agreement(found: Sequence[DetDataSample], expected: Sequence[DetDataSample]) -> Agreement:
    """Compare predictions, image by image.

    Partners have one class, and their boxes differ least (an optimal assignment).

    Args:
        found, expected: predictions with ``pred_instances``, or with ``pred_scores`` of classifiers.
    """
    bboxes, scores, unmatched, total = [], [], 0, 0
    for one, other in zip(found, expected, strict=True):
        if 'pred_scores' in other:
            scores.append(float((one.pred_scores - other.pred_scores).abs().max()))
            continue
        ours, theirs = one.pred_instances, other.pred_instances
        if not len(ours) or not len(theirs):
            unmatched += len(ours) + len(theirs)
            total += len(ours) + len(theirs)
            continue
        ours_bboxes, theirs_bboxes = (
            np.asarray((part.rbboxes[:, :4] if 'rbboxes' in part else part.bboxes).cpu(), np.float64)
            for part in (ours, theirs)
        )
        distances = np.abs(ours_bboxes[:, None] - theirs_bboxes[None]).max(-1)  # (N, M)
        other_class = np.asarray(ours.labels.cpu())[:, None] != np.asarray(theirs.labels.cpu())[None]
        rows, columns = linear_sum_assignment(np.minimum(distances, 2 * _FARTHEST) + 4 * _FARTHEST * other_class)
        good = (distances[rows, columns] <= _FARTHEST) & ~other_class[rows, columns]
        rows, columns = rows[good], columns[good]
        total += len(ours) + len(theirs)
        unmatched += len(ours) + len(theirs) - 2 * len(rows)
        if len(rows):
            bboxes.append(float(distances[rows, columns].max()))
            pairs = np.asarray(ours.scores.cpu())[rows] - np.asarray(theirs.scores.cpu())[columns]
            scores.append(float(np.abs(pairs).max()))
    return Agreement(max(bboxes, default=None), max(scores, default=None), unmatched, total)
