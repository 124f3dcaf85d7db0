"""Average precision from overlaps, as COCO and as PASCAL VOC define it: for what pycocotools does not measure."""

from __future__ import annotations

import numpy as np

# What becomes of a prediction.
FALSE, TRUE, IGNORED = 0, 1, -1

_COCO_RECALLS = np.linspace(0, 1, 101)
_VOC_RECALLS = np.arange(11) / 10  # exact, so that 3 of 10 objects are a recall of .3


def match_coco(overlaps: np.ndarray, ignored: np.ndarray, iou_thrs: np.ndarray) -> np.ndarray:
    """COCO's matching: each prediction takes the free object it overlaps with most, if it does so enough.

    Args:
        overlaps: ``(D, G)`` of one image and class, predictions best first.
        ignored: ``(G,)`` bool; a prediction that fits none but an ignored object is ignored, any number of them.
        iou_thrs: ``(T,)`` ascending, the least overlap of a match.

    Returns:
        ``(T, D)`` int8: ``TRUE``, ``FALSE`` or ``IGNORED``.
    """
    found = np.full((len(iou_thrs), len(overlaps)), FALSE, np.int8)
    if not overlaps.size:
        return found
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
        found[:, d] = np.where(matches, TRUE, np.where(easy[d] >= iou_thrs, IGNORED, FALSE))
    return found


def match_voc(overlaps: np.ndarray, ignored: np.ndarray, iou_thr: float = 0.5) -> np.ndarray:
    """PASCAL VOC's matching, which DOTA's server uses: the object overlapped most counts, even when it is taken.

    Args:
        overlaps: ``(D, G)`` of one image and class, predictions best first.
        ignored: ``(G,)`` bool, difficult objects.
        iou_thr: a match overlaps more than this.

    Returns:
        ``(D,)`` int8.
    """
    found = np.full(len(overlaps), FALSE, np.int8)
    if not overlaps.size:
        return found
    best = overlaps.argmax(1)
    hits = np.flatnonzero(overlaps[np.arange(len(best)), best] > iou_thr)
    found[hits[ignored[best[hits]]]] = IGNORED
    hits = hits[~ignored[best[hits]]]
    _, first = np.unique(best[hits], return_index=True)
    found[hits[first]] = TRUE
    return found


def precision_recall(found: np.ndarray, num_objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall ``(D',)`` after each prediction that is not ignored.

    Args:
        found: ``(D,)`` of one class and threshold, all images' predictions, best first.
        num_objects: how many there are to find, at least 1.
    """
    found = found[found != IGNORED]
    true = np.cumsum(found == TRUE)
    return true / np.arange(1, len(found) + 1), true / num_objects


def average_precision(found: np.ndarray, num_objects: int, interpolation: str = 'coco') -> float:
    """The mean, over recalls, of the best precision at that recall or a higher one.

    Args:
        found, num_objects: see ``precision_recall``.
        interpolation: 'coco', at 101 evenly spread recalls; 'voc07', at 11; or 'area', over all recalls, the area under
            the curve, as VOC measures since 2010.

    Returns:
        in [0, 1]; -1 where there is no object to find.
    """
    if not num_objects:
        return -1.0
    precision, recall = precision_recall(found, num_objects)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    if interpolation == 'area':
        return float((np.diff(recall, prepend=0) * envelope[:-1]).sum())
    recalls = {'coco': _COCO_RECALLS, 'voc07': _VOC_RECALLS}[interpolation]
    return float(envelope[np.searchsorted(recall, recalls, side='left')].mean())
