"""What prediction does differently for classifiers: the test pipeline's crop, and what is said of an answer."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from detkit.evaluation.accuracy_metric import class_entry
from detkit.inference.steps import resized, steps_of
from detkit.structures.data_sample import DetDataSample, best_classes

_DEFAULT_SIZE = 224


def class_input_size(config: Config | dict) -> int:
    """The side of what the config's test pipeline crops, or stretches images to; 224 where it says none."""
    for step in reversed(steps_of(config)):
        if step['type'] in ('CenterCrop', 'Stretch'):
            size = step.get('size', _DEFAULT_SIZE)
            return int(size if isinstance(size, int) else max(size))
    return _DEFAULT_SIZE


def class_pipeline(config: Config | dict, img_size: int) -> list[dict[str, Any]]:
    """Transforms from an image to a classifier's input.

    Args:
        config: its test pipeline is taken; the shorter side scaled to the crop's where it has none.
        img_size: side of the crop; the pipeline's other sizes change by the same factor.
    """
    steps = steps_of(config) or [
        {'type': 'LoadImageFromFile'},
        {'type': 'ResizeShortestEdge'},
        {'type': 'CenterCrop'},
        {'type': 'Render', 'antialias': True},
        {'type': 'PackInputs'},
    ]
    factor = img_size / class_input_size(config)
    return [resized(step, factor) for step in steps]


def answer_entry(sample: DetDataSample, classes: tuple[str, ...]) -> dict[str, Any]:
    """The json entry of one image, see ``class_entry``."""
    labels, scores = best_classes(sample.pred_scores, len(classes))
    return class_entry(sample.img_path, sample.img_id, labels, scores, classes)


def describe_answer(sample: DetDataSample, classes: tuple[str, ...], count: int = 3) -> str:
    """Such as 'rain 0.93, cloudy 0.05, shine 0.02'."""
    labels, scores = best_classes(sample.pred_scores, count)
    return ', '.join(f'{classes[label]} {score:.2f}' for label, score in zip(labels, scores, strict=True))
