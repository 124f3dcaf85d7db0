"""Types of a detector's errors, and the average precision lost to each.

The types are those of TIDE (Bolya et al., https://arxiv.org/abs/2008.08115): a false prediction is classified by its
overlaps with the objects, and each type is corrected alone, to measure the gain in average precision at an overlap
of .5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detkit.analysis.errors.matching import match, overlaps_of, uncounted
from detkit.evaluation.average_precision import FALSE, IGNORED, TRUE, average_precision

FOREGROUND, BACKGROUND = 0.5, 0.1
# In the order in which a prediction is asked.
FALSE_POSITIVE_TYPES = ('classification', 'localisation', 'duplicate', 'both', 'background')
FIXABLE = ('classification', 'localisation')  # those that a right class or box would make true
ERROR_TYPES = (*FALSE_POSITIVE_TYPES, 'missed')
EXPLANATIONS = {
    'classification': 'right location, wrong class',
    'localisation': 'right class, overlap only .1 to .5',
    'duplicate': 'an object that a prediction of a higher score already has',
    'both': 'wrong class and overlap only .1 to .5',
    'background': 'overlaps nothing',
    'missed': 'objects that no prediction overlaps, not even a wrong one',
}


@dataclass(frozen=True)
class ErrorTypes:
    """The types of error of all D predictions and N objects of a dataset.

    Attributes:
        images, indices: ``(D,)`` int64, the image of each prediction and its index in it.
        labels, scores: ``(D,)``.
        found: ``(D,)`` int8, ``TRUE``, ``FALSE`` or ``IGNORED``.
        types: ``(D,)`` int64, index into ``FALSE_POSITIVE_TYPES``, -1 for predictions that are not false.
        objects: ``(D,)`` int64, the object that a prediction has or should have had, -1 for none.
        gt_images, gt_indices, gt_labels: ``(N,)``, of the objects that count (see ``uncounted``).
        missed: ``(N,)`` bool, objects that are neither found nor the object of a classification or localisation error.
    """

    images: np.ndarray
    indices: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    found: np.ndarray
    types: np.ndarray
    objects: np.ndarray
    gt_images: np.ndarray
    gt_indices: np.ndarray
    gt_labels: np.ndarray
    missed: np.ndarray

    def above(self, score_thr: float) -> ErrorTypes:
        """Return the errors without the predictions below a score; the types of the others stay."""
        kept = self.scores >= score_thr
        found, types, objects = self.found[kept], self.types[kept], self.objects[kept]
        return replace(
            self,
            images=self.images[kept],
            indices=self.indices[kept],
            labels=self.labels[kept],
            scores=self.scores[kept],
            found=found,
            types=types,
            objects=objects,
            missed=_missed(found, types, objects, len(self.gt_labels)),
        )


def classify_errors(
    results: Sequence,
    classes: Sequence[str],
    kind: str = 'bbox',
    sigmas: Sequence[float] | None = None,
    max_dets: int | None = None,
) -> ErrorTypes:
    """Classify each false prediction by its type of error.

    Args:
        results, classes, kind, sigmas, max_dets: those of ``match``.
    """
    per_class = match(results, classes, kind, [FOREGROUND], sigmas, False, max_dets).per_class
    gts = [result.gt_instances for result in results]
    # All objects are numbered through all images, those that do not count left out.
    counted = [~uncounted(gt, kind) for gt in gts]
    starts = np.cumsum([0, *(len(gt.labels) for gt in gts)])
    real = np.concatenate(counted)
    numbers = np.where(real, np.cumsum(real) - 1, -1)
    labels = np.repeat(np.arange(len(classes)), [len(matches.images) for matches in per_class])
    images = np.concatenate([matches.images for matches in per_class])
    indices = np.concatenate([matches.indices for matches in per_class])
    scores = np.concatenate([matches.scores for matches in per_class])
    found = np.concatenate([matches.found[0, 0] for matches in per_class])
    matched = np.concatenate([matches.matched[0] for matches in per_class])
    objects = np.full(len(images), -1)
    hits = found == TRUE
    objects[hits] = numbers[starts[images[hits]] + matched[hits]]
    types = np.full(len(images), -1)
    false = np.flatnonzero(found == FALSE)
    false = false[np.argsort(images[false], kind='stable')]
    for image, rows in enumerate(np.split(false, np.searchsorted(images[false], np.arange(1, len(gts))))):
        if not len(rows):
            continue
        own = np.flatnonzero(counted[image])
        overlaps = overlaps_of(results[image], kind, sigmas)[indices[rows]][:, own]
        types[rows], wanted = _types_of(overlaps, labels[rows, None] == gts[image].labels[own])
        objects[rows] = np.where(wanted >= 0, numbers[starts[image] + own[wanted]] if len(own) else -1, -1)
    gt_labels = np.concatenate([gt.labels for gt in gts])[real]
    return ErrorTypes(
        images=images,
        indices=indices,
        labels=labels,
        scores=scores,
        found=found,
        types=types,
        objects=objects,
        gt_images=np.repeat(np.arange(len(gts)), np.diff(starts))[real],
        gt_indices=np.concatenate([np.arange(len(gt.labels)) for gt in gts])[real],
        gt_labels=gt_labels,
        missed=_missed(found, types, objects, len(gt_labels)),
    )


def _missed(found: np.ndarray, types: np.ndarray, objects: np.ndarray, number: int) -> np.ndarray:
    """Return which objects were missed, ``(N,)`` bool."""
    missed = np.ones(number, bool)
    covered = (found == TRUE) | np.isin(types, [FALSE_POSITIVE_TYPES.index(name) for name in FIXABLE])
    missed[objects[covered]] = False
    return missed


def _types_of(overlaps: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the type of each false prediction ``(F, N)``, and the object it should have had (-1 for none)."""
    if not overlaps.shape[1]:
        return np.full(len(overlaps), FALSE_POSITIVE_TYPES.index('background')), np.full(len(overlaps), -1)
    own, other = np.where(same, overlaps, -1.0), np.where(same, -1.0, overlaps)
    best_own, best_other = own.max(1), other.max(1)
    types = np.select(
        [best_own >= FOREGROUND, best_own >= BACKGROUND, best_other >= FOREGROUND, best_other >= BACKGROUND],
        [FALSE_POSITIVE_TYPES.index(name) for name in ('duplicate', 'localisation', 'classification', 'both')],
        FALSE_POSITIVE_TYPES.index('background'),
    )
    # A wrong class at the right location says more than a poor overlap with a neighbour of the right one.
    types[(best_other >= FOREGROUND) & (best_own < FOREGROUND)] = FALSE_POSITIVE_TYPES.index('classification')
    wanted = np.full(len(overlaps), -1)
    for name, candidates in (('duplicate', own), ('localisation', own), ('classification', other), ('both', other)):
        chosen = types == FALSE_POSITIVE_TYPES.index(name)
        wanted[chosen] = candidates[chosen].argmax(1)
    return types, wanted


@dataclass(frozen=True)
class DeltaAP:
    """Average precision at an overlap of .5, and its gain if each type of error were corrected (delta AP).

    Attributes:
        ap50: mean average precision of the predictions as they are.
        gains: for each of ``ERROR_TYPES``, the gain if that type alone were corrected.
        false_positives: the gain if no prediction were false.
        false_negatives: the gain if every object were found.
        numbers: number of errors of each of ``ERROR_TYPES`` from a score on.
    """

    ap50: float
    gains: dict[str, float]
    false_positives: float
    false_negatives: float
    numbers: dict[str, int]


def delta_ap(errors: ErrorTypes, class_count: int, score_thr: float = 0.0) -> DeltaAP:
    """Correct each type of error in turn, and measure the gain in mean average precision.

    A classification error gets the class of its object, a localisation error its box; if several predictions then have
    the same object, the one of the highest score is kept. Duplicates, errors of both kinds and predictions on
    background are removed. Missed objects are not counted.

    Args:
        errors: the errors at all scores, since average precision depends on all predictions.
        class_count: C.
        score_thr: predictions below it don't count among the ``numbers``.
    """
    numbers = _numbers(errors.above(score_thr))
    objects = np.bincount(errors.gt_labels, minlength=class_count)
    present = np.flatnonzero(objects)

    def mean_ap(labels: np.ndarray, found: np.ndarray, scores: np.ndarray, number: np.ndarray) -> float:
        values = []
        for label in present:
            if not number[label]:  # all were missed, so that nothing is left to find
                values.append(1.0)
                continue
            own = np.flatnonzero(labels == label)
            order = own[np.argsort(-scores[own], kind='stable')]
            values.append(average_precision(found[order], int(number[label])))
        return float(np.mean(values)) if values else -1.0

    base = mean_ap(errors.labels, errors.found, errors.scores, objects)
    if base < 0:
        return DeltaAP(-1.0, dict.fromkeys(ERROR_TYPES, 0.0), 0.0, 0.0, numbers)
    gains = {}
    for number, name in enumerate(FALSE_POSITIVE_TYPES):
        wrong = errors.types == number
        if name in FIXABLE:
            labels, found = _put_right(errors, wrong)
        else:
            labels, found = errors.labels, np.where(wrong, IGNORED, errors.found)
        gains[name] = mean_ap(labels, found, errors.scores, objects) - base
    left = objects - np.bincount(errors.gt_labels[errors.missed], minlength=class_count)
    gains['missed'] = mean_ap(errors.labels, errors.found, errors.scores, left) - base
    without_false = np.where(errors.found == FALSE, IGNORED, errors.found)
    found_objects = np.bincount(errors.gt_labels[errors.objects[errors.found == TRUE]], minlength=class_count)
    return DeltaAP(
        base,
        gains,
        mean_ap(errors.labels, without_false, errors.scores, objects) - base,
        mean_ap(errors.labels, errors.found, errors.scores, found_objects) - base,
        numbers,
    )


def _put_right(errors: ErrorTypes, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and outcomes if the ``wrong`` predictions had their objects; of several the best score counts."""
    labels, found = errors.labels.copy(), errors.found.copy()
    labels[wrong] = errors.gt_labels[errors.objects[wrong]]
    candidates = np.flatnonzero(wrong | (errors.found == TRUE))
    order = candidates[np.argsort(-errors.scores[candidates], kind='stable')]
    _, first = np.unique(errors.objects[order], return_index=True)
    found[candidates] = IGNORED
    found[order[first]] = TRUE
    return labels, found


def _numbers(errors: ErrorTypes) -> dict[str, int]:
    counts = {name: int((errors.types == number).sum()) for number, name in enumerate(FALSE_POSITIVE_TYPES)}
    return {**counts, 'missed': int(errors.missed.sum())}
