"""Examples of a kind of error, cut out of their images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from detkit.datasets.transforms.loading import read_image
from detkit.structures.rotated_bboxes import rbbox_corners
from detkit.visualization.drawing import draw_instances
from detkit.visualization.sheets import grid, with_caption

if TYPE_CHECKING:
    from detkit.analysis.collect import Collected
    from detkit.analysis.error_types import Judged

_SIDE = 300
_COLUMNS = 4
# What is shown around: the larger side of all that matters, times this.
_AROUND = 1.8


def error_sheet(model: Collected, judged: Judged, name: str, count: int) -> np.ndarray | None:
    """The surest predictions of a kind of error, or the largest objects that were missed, or None where there are none.

    Each example has the object on its left side and the prediction on its right.

    Args:
        model: evaluated.
        judged: its predictions.
        name: of ``error_types.KINDS``.
        count: how many.
    """
    from detkit.analysis.error_types import FALSE_KINDS  # that one draws nothing

    if name == 'missed':
        places = np.flatnonzero(judged.missed)
        areas = np.array([_object_area(model.results[judged.gt_images[n]], judged.gt_places[n]) for n in places])
        chosen = [(-1, n) for n in places[np.argsort(-areas, kind='stable')[:count]]]
    else:
        places = np.flatnonzero(judged.kinds == FALSE_KINDS.index(name))
        places = places[np.argsort(-judged.scores[places], kind='stable')[:count]]
        chosen = [(d, judged.objects[d]) for d in places]
    if not chosen:
        return None
    return grid([_example(model, judged, int(d), int(n)) for d, n in chosen], _COLUMNS)


def _example(model: Collected, judged: Judged, prediction: int, number: int) -> np.ndarray:
    image = int(judged.images[prediction] if prediction >= 0 else judged.gt_images[number])
    result = model.results[image]
    img = read_image(result.img_path)
    ours = [] if prediction < 0 else [int(judged.places[prediction])]
    theirs = [] if number < 0 else [int(judged.gt_places[number])]
    pred, truth = _corners(result, ours, False), _corners(result, theirs, True)
    window = window_around(np.concatenate([pred, truth]).reshape(-1, 2), img.shape[:2])
    halves = []
    for which, rows in (('gt', theirs), ('pred', ours)):
        corners = _corners(result, rows, which == 'gt')
        labels = (result.gt_labels if which == 'gt' else result.labels)[rows]
        scores = None if which == 'gt' else result.scores[rows]
        halves.append(cut_out(img, window, corners, labels, scores, model.classes, hasattr(result, 'rbboxes')))
    caption = Path(result.img_path).name
    return with_caption(np.concatenate([halves[0], np.full((_SIDE, 2, 3), 255, np.uint8), halves[1]], 1), caption)


def _corners(result: object, rows: list[int], truth: bool) -> np.ndarray:
    """``(n, 4, 2)`` of upright or rotated boxes."""
    if hasattr(result, 'rbboxes'):
        return rbbox_corners((result.gt_rbboxes if truth else result.rbboxes)[rows]).reshape(-1, 4, 2)
    x0, y0, x1, y1 = (result.gt_bboxes if truth else result.bboxes)[rows].reshape(-1, 4).T
    return np.stack([np.stack([x0, y0], -1), np.stack([x1, y0], -1), np.stack([x1, y1], -1), np.stack([x0, y1], -1)], 1)


def _object_area(result: object, place: int) -> float:
    corners = _corners(result, [int(place)], True)[0]
    return float(np.ptp(corners[:, 0]) * np.ptp(corners[:, 1]))


def window_around(points: np.ndarray, shape: tuple[int, int]) -> tuple[float, float, float]:
    """Left, top and side of a square around the points, as far as possible inside the image of (h, w)."""
    low, high = points.min(0), points.max(0)
    side = float(np.clip((high - low).max() * _AROUND, 32, max(shape)))
    corner = (low + high - side) / 2
    inside = np.clip(corner, 0, np.maximum(0, np.array(shape[::-1]) - side))
    return float(inside[0]), float(inside[1]), side


def cut_out(img: np.ndarray, window: tuple[float, float, float], corners: np.ndarray, labels: np.ndarray,
            scores: np.ndarray | None, classes: Sequence[str], rotated: bool) -> np.ndarray:
    """A window of an image, 300 pixels wide and high, with objects.

    Args:
        img: ``(H, W, 3)`` uint8 RGB.
        window: of ``window_around``.
        corners: ``(n, 4, 2)`` of the objects, in pixels of ``img``.
        labels, scores, classes: as for ``draw_instances``.
        rotated: draw them as they are turned.
    """
    left, top, side = window
    scale = _SIDE / side
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    cut = cv2.warpAffine(img, matrix, (_SIDE, _SIDE), flags=flags, borderValue=(255, 255, 255))
    moved = (corners - (left, top)) * scale
    bboxes = np.concatenate([moved.min(1), moved.max(1)], 1) if len(moved) else np.zeros((0, 4))
    if not rotated:
        return draw_instances(cut, bboxes, labels, classes, scores)
    rbboxes = np.array([_rbbox(quad) for quad in moved]).reshape(-1, 5)
    return draw_instances(cut, bboxes, labels, classes, scores, rbboxes=rbboxes)


def _rbbox(quad: np.ndarray) -> np.ndarray:
    """cx, cy, w, h, angle of a rectangle's corners."""
    along, across = quad[1] - quad[0], quad[2] - quad[1]
    return np.array([*quad.mean(0), np.hypot(*along), np.hypot(*across), np.arctan2(along[1], along[0])])
