"""Average precision from overlaps, as COCO and as PASCAL VOC define it, for what pycocotools does not measure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# The outcomes of a prediction.
FALSE, TRUE, IGNORED = 0, 1, -1

COCO_RECALLS = np.linspace(0, 1, 101)
# Which of them are no larger than k / 100: rounding puts some of pycocotools' recalls behind a recall that equals them.
_REACHED_AT = COCO_RECALLS <= np.arange(101) / 100
_VOC_RECALLS = np.arange(11) / 10  # exact, so that 3 of 10 objects are a recall of .3


def match_coco(overlaps: np.ndarray, ignored: np.ndarray, iou_thrs: np.ndarray) -> np.ndarray:
    """Match as COCO does: each prediction takes the free object that it overlaps most, if it does so enough.

    Args:
        overlaps: ``(D, G)`` of one image and class, predictions best first.
        ignored: ``(G,)`` bool; predictions that match only an ignored object are ignored, any number of them.
        iou_thrs: ``(T,)`` ascending, the least overlap of a match.

    Returns:
        ``(T, D)`` int8: ``TRUE``, ``FALSE`` or ``IGNORED``.
    """
    outcomes = np.full((len(iou_thrs), len(overlaps)), FALSE, np.int8)
    if not overlaps.size:
        return outcomes
    real = overlaps[:, ~ignored]
    easy = overlaps[:, ignored].max(1, initial=0)
    best_of = np.maximum(real.max(1, initial=0), easy)
    free = np.ones((len(iou_thrs), real.shape[1]), bool)
    rows = np.arange(len(iou_thrs))
    for d in np.flatnonzero(best_of >= iou_thrs[0]):
        matches = np.zeros(len(iou_thrs), bool)
        if real.shape[1]:
            candidates = np.where(free, real[d], -1)
            best = candidates.argmax(1)
            matches = candidates[rows, best] >= iou_thrs
            free[rows[matches], best[matches]] = False
        outcomes[:, d] = np.where(matches, TRUE, np.where(easy[d] >= iou_thrs, IGNORED, FALSE))
    return outcomes


def match_voc(overlaps: np.ndarray, ignored: np.ndarray, iou_thr: float = 0.5) -> np.ndarray:
    """Match as PASCAL VOC and DOTA's server do: the object overlapped most counts, even when it is taken.

    Args:
        overlaps: ``(D, G)`` of one image and class, predictions best first.
        ignored: ``(G,)`` bool, difficult objects.
        iou_thr: a match overlaps more than this.

    Returns:
        ``(D,)`` int8.
    """
    outcomes = np.full(len(overlaps), FALSE, np.int8)
    if not overlaps.size:
        return outcomes
    best = overlaps.argmax(1)
    hits = np.flatnonzero(overlaps[np.arange(len(best)), best] > iou_thr)
    outcomes[hits[ignored[best[hits]]]] = IGNORED
    hits = hits[~ignored[best[hits]]]
    _, first = np.unique(best[hits], return_index=True)
    outcomes[hits[first]] = TRUE
    return outcomes


def rank_outcomes(parts: Sequence[tuple[np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """Return the outcomes ``(R, D)`` of the predictions of all images, best first.

    Args:
        parts: the scores ``(D_i,)`` and outcomes ``(R, D_i)`` of each image.
        count: R.
    """
    nothing = np.zeros(0), np.zeros((count, 0), np.int8)
    scores, outcomes = (np.concatenate(column, -1) for column in zip(nothing, *parts, strict=True))
    return outcomes[:, np.argsort(-scores, kind='stable')]


def precision_recall(outcomes: np.ndarray, num_objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and recall ``(D',)`` after each prediction that is not ignored.

    Args:
        outcomes: ``(D,)`` of one class and threshold, all images' predictions, best first.
        num_objects: the number of objects to find, at least 1.
    """
    outcomes = outcomes[outcomes != IGNORED]
    true = np.cumsum(outcomes == TRUE)
    return true / np.arange(1, len(outcomes) + 1), true / num_objects


def precision_envelope(precision: np.ndarray) -> np.ndarray:
    """Return the best precision at each recall or a higher one, along the last axis."""
    return np.maximum.accumulate(precision[..., ::-1], -1)[..., ::-1]


def precision_at(outcomes: np.ndarray, num_objects: int, recalls: np.ndarray = COCO_RECALLS) -> np.ndarray:
    """Return the best precision at each of ``recalls`` or a higher one; 0 at recalls that are not reached.

    Args:
        outcomes, num_objects: see ``precision_recall``.
        recalls: ascending.
    """
    precision, recall = precision_recall(outcomes, num_objects)
    return np.append(precision_envelope(precision), 0)[np.searchsorted(recall, recalls, side='left')]


def average_precision(outcomes: np.ndarray, num_objects: int, interpolation: str = 'coco') -> float:
    """Return the mean, over recalls, of the best precision at that recall or a higher one.

    Args:
        outcomes, num_objects: see ``precision_recall``.
        interpolation: 'coco', at 101 evenly spread recalls; 'voc07', at 11; or 'area', over all recalls, the area under
            the curve, as VOC measures since 2010.

    Returns:
        In [0, 1]; -1 where there is no object to find.
    """
    if not num_objects:
        return -1.0
    if interpolation == 'area':
        precision, recall = precision_recall(outcomes, num_objects)
        return float((np.diff(recall, prepend=0) * precision_envelope(precision)).sum())
    recalls = {'coco': COCO_RECALLS, 'voc07': _VOC_RECALLS}[interpolation]
    return float(precision_at(outcomes, num_objects, recalls).mean())


def average_precision_of_counts(true: np.ndarray, seen: np.ndarray, num_objects: np.ndarray) -> np.ndarray:
    """Return COCO's average precision of R choices of images at once, ``(R,)``, from counts at the true positives.

    Recall rises at true positives alone, so precision is needed at no other prediction.

    Args:
        true: ``(R, H)`` int, true positives up to and with each of the H best ones.
        seen: ``(R, H)`` int, predictions up to there that are not ignored.
        num_objects: ``(R,)`` int, how many there are to find, at least 1.
    """
    envelope = precision_envelope(true / np.maximum(seen, 1))
    # How many of the recalls each hit reaches, in whole numbers, as a quotient that rounds up would reach one too many.
    percent = 100 * true.astype(np.int64)
    reached = np.floor((percent + 0.5) / num_objects[:, None]).astype(np.int64)
    reached += np.where(reached * num_objects[:, None] == percent, _REACHED_AT[reached], 1)
    return (envelope * np.diff(reached, axis=1, prepend=0)).sum(1) / len(COCO_RECALLS)
