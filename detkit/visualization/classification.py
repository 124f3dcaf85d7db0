"""Drawing of the classes of whole images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detkit.structures.data_sample import DetDataSample, best_classes
from detkit.visualization.drawing_options import DRAW_ALL, DrawingOptions
from detkit.visualization.palette import class_colour, text_colour
from detkit.visualization.text import draw_text, text_alpha

_MOST_LINES = 5
_RIGHT, _WRONG = (0, 128, 60), (200, 30, 30)


def draw_classes(
    img: np.ndarray,
    sample: DetDataSample,
    which: str = 'pred',
    classes: Sequence[str] | None = None,
    score_thr: float = 0.0,
    zoom: float = 1.0,
    options: DrawingOptions = DRAW_ALL,
) -> np.ndarray:
    """Return a copy of an image with its class written in the top left corner.

    Args:
        img: ``(H, W, 3)`` uint8 RGB.
        sample: its ``pred_scores`` or ``gt_label``.
        which: 'pred': the most probable class with its score, and up to four more that reach ``score_thr``; 'gt': the
            true class.
        classes: names of the labels.
        score_thr: see ``which``.
        zoom: factor of the text's size, for a picture that will be shrunk.
        options: whether names and scores are written; the others are of objects.
    """
    if which == 'gt' and options.labels:
        lines = [(sample.gt_label, _name(sample.gt_label, classes))]
    elif which == 'gt':
        lines = []
    elif which == 'pred':
        labels, scores = best_classes(sample.pred_scores, _MOST_LINES)
        lines = [
            (int(label), options.text(_name(label, classes), score))
            for rank, (label, score) in enumerate(zip(labels, scores, strict=True))
            if (not rank or (score >= score_thr and score > 0)) and (options.labels or options.scores)
        ]
    else:
        raise ValueError(f"which must be 'pred' or 'gt', not {which!r}")
    return write_lines(img, lines, zoom)


def write_lines(img: np.ndarray, lines: Sequence[tuple[int, str]], zoom: float = 1.0) -> np.ndarray:
    """Return a copy of an image with lines of text, each on the colour of its class.

    Args:
        lines: label and text; a line too wide for the image is written smaller.
    """
    img = np.ascontiguousarray(img).copy()
    y = 0
    for label, text in lines:
        size = max(9, round(max(11, np.sqrt(img.shape[0] * img.shape[1]) / 22) * zoom))
        while size > 9 and text_alpha(text, size).shape[1] > img.shape[1]:
            size -= 1
        padding = max(1, size // 6)
        colour = class_colour(label)
        draw_text(img, text, (0, y), size, text_colour(colour), colour, padding)
        y += text_alpha(text, size).shape[0] + 2 * padding
    return img


def verdict(sample: DetDataSample, classes: Sequence[str] | None = None) -> tuple[str, tuple[int, int, int]]:
    """Return a line such as 'rain .93' or 'shine .51, is rain' and its colour, green if the prediction is right."""
    labels, scores = best_classes(sample.pred_scores, 1)
    text = f'{_name(labels[0], classes)} {scores[0]:.2f}'
    if 'gt_label' not in sample:
        return text, (40, 40, 40)
    right = int(labels[0]) == sample.gt_label
    return (text, _RIGHT) if right else (f'{text}, is {_name(sample.gt_label, classes)}', _WRONG)


def _name(label: int, classes: Sequence[str] | None) -> str:
    return classes[label] if classes is not None and label < len(classes) else str(int(label))
