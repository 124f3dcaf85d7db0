"""The confusion matrix of a detector, with background as a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detkit.analysis.errors.overlaps import overlaps_of

BACKGROUND = 'background'


def confusion_matrix(
    results: Sequence,
    class_count: int,
    kind: str = 'bbox',
    score_thr: float = 0.25,
    iou_thr: float = 0.5,
    sigmas: Sequence[float] | None = None,
) -> np.ndarray:
    """Count objects by true and predicted class.

    Predictions and objects are paired whatever their classes, those that overlap most first, each once. An unpaired
    prediction counts as background, unless it lies on an ignored object; so does an unpaired object.

    Args:
        results: of each image, as for ``match``.
        class_count: C.
        kind: what overlaps, see ``overlaps_of``.
        score_thr: predictions below it do not count.
        iou_thr: least overlap of a pair.
        sigmas: of keypoints, see ``match``.

    Returns:
        ``(C + 1, C + 1)`` int64, rows the true classes, columns the predicted ones, the last of each background.
    """
    counts = np.zeros((class_count + 1, class_count + 1), np.int64)
    for result in results:
        gt, pred = result.gt_instances, result.pred_instances
        overlaps = overlaps_of(result, kind, sigmas)
        sure, real = np.flatnonzero(pred.scores >= score_thr), np.flatnonzero(~gt.ignored)
        pairs = pair_up(overlaps[np.ix_(sure, real)], iou_thr)
        true, predicted = gt.labels[real], pred.labels[sure]
        np.add.at(counts, (true[pairs[:, 1]], predicted[pairs[:, 0]]), 1)
        np.add.at(counts, (np.delete(true, pairs[:, 1]), class_count), 1)
        ignored = (overlaps[sure][:, gt.ignored] >= iou_thr).any(1)
        ignored[pairs[:, 0]] = True
        np.add.at(counts, (class_count, predicted[~ignored]), 1)
    return counts


def pair_up(overlaps: np.ndarray, iou_thr: float) -> np.ndarray:
    """Pair rows and columns of overlaps ``(D, N)``, the largest first, down to ``iou_thr``, each once; ``(P, 2)``."""
    rows, columns = np.nonzero(overlaps >= iou_thr)
    order = np.argsort(-overlaps[rows, columns], kind='stable')
    pairs, taken_rows, taken_columns = [], set(), set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in taken_rows and column not in taken_columns:
            pairs.append((row, column))
            taken_rows.add(row)
            taken_columns.add(column)
    return np.array(pairs, np.int64).reshape(-1, 2)
