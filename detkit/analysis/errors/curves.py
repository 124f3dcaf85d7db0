"""Precision and recall, against each other and against the score threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detkit.analysis.errors.matching import Matches
from detkit.evaluation.average_precision import IGNORED, TRUE, precision_at

SCORES = np.linspace(0, 1, 1001)


@dataclass(frozen=True)
class ClassCurves:
    """Curves of one class at one overlap.

    Attributes:
        label: of the class.
        objects: how many there are, at least 1.
        average_precision: the mean of ``precision_at``.
        precision_at: ``(101,)``, the best precision at each of ``COCO_RECALLS`` or a higher one.
        precision, recall, f1: ``(1001,)``, of the predictions whose score is at least each of ``SCORES``. Without any
            prediction precision is 1.
    """

    label: int
    objects: int
    average_precision: float
    precision_at: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def best(self) -> int:
        """Index in ``SCORES`` of the highest F1; of the highest score among equals."""
        return len(SCORES) - 1 - int(self.f1[::-1].argmax())


def class_curves(matches: Matches, threshold: int = 0) -> list[ClassCurves]:
    """Compute the curves of every class that has objects.

    Args:
        matches: of ``match``.
        threshold: index in ``matches.iou_thrs``.
    """
    found = []
    for label, own in enumerate(matches.per_class):
        objects = int(own.objects[0].sum())
        if not objects:
            continue
        outcomes = own.found[0, threshold]
        counted = outcomes != IGNORED
        true, scores = np.cumsum(outcomes[counted] == TRUE), own.scores[counted]
        best = precision_at(outcomes, objects)
        # How many predictions reach each score; scores descend.
        number = np.searchsorted(-scores, -SCORES, side='right')
        right = np.append(0, true)[number]
        precision = np.where(number > 0, right / np.maximum(number, 1), 1.0)
        f1 = 2 * right / (number + objects)
        found.append(ClassCurves(label, objects, float(best.mean()), best, precision, right / objects, f1))
    return found


def mean_curves(curves: list[ClassCurves]) -> ClassCurves:
    """Average the curves of all classes, as mean average precision does; ``label`` is -1.

    Raises:
        ValueError: there is no class.
    """
    if not curves:
        raise ValueError('there are no curves to take the mean of')

    def mean(name: str) -> np.ndarray:
        return np.mean([getattr(one, name) for one in curves], 0)

    return ClassCurves(
        -1,
        sum(one.objects for one in curves),
        float(mean('average_precision')),
        mean('precision_at'),
        mean('precision'),
        mean('recall'),
        mean('f1'),
    )
