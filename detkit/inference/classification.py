"""The classes of a predicted image as text and as json."""

from __future__ import annotations

from typing import Any

from detkit.evaluation.accuracy_metric import class_entry
from detkit.structures.data_sample import DetDataSample, best_classes


def answer_entry(sample: DetDataSample, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the json entry of one image, see ``class_entry``."""
    labels, scores = best_classes(sample.pred_scores, len(classes))
    return class_entry(sample.img_path, sample.img_id, labels, scores, classes)


def describe_answer(sample: DetDataSample, classes: tuple[str, ...], count: int = 3) -> str:
    """Return the best classes as text: 'rain 0.93, cloudy 0.05, shine 0.02'."""
    labels, scores = best_classes(sample.pred_scores, count)
    return ', '.join(f'{classes[label]} {score:.2f}' for label, score in zip(labels, scores, strict=True))
