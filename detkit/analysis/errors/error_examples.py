"""Pictures of examples of a type of error, cut out of their images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from detkit.datasets.transforms.loading import read_image
from detkit.structures.data_sample import DetDataSample
from detkit.structures.masks import InstanceMasks
from detkit.structures.rotated_bboxes import rbbox_corners
from detkit.visualization.drawing import draw_instances
from detkit.visualization.sheets import grid, with_caption
from detkit.visualization.skeletons import drawn_keypoints
from detkit.visualization.windows import Window

if TYPE_CHECKING:
    from detkit.analysis.errors.error_types import ErrorTypes
    from detkit.analysis.errors.evaluated_model import EvaluatedModel

_SIDE = 300
_COLUMNS = 4


def error_sheet(
    model: EvaluatedModel, errors: ErrorTypes, name: str, count: int, kind: str = 'bbox'
) -> np.ndarray | None:
    """Draw the predictions of a type of error with the highest scores, or the largest missed objects; None without any.

    Each example has the object on its left side and the prediction on its right.

    Args:
        model: evaluated.
        errors: its predictions.
        name: one of ``error_types.ERROR_TYPES``.
        count: how many.
        kind: the kind of overlap; masks or keypoints are drawn if it is theirs.
    """
    from detkit.analysis.errors.error_types import FALSE_POSITIVE_TYPES  # that one draws nothing

    if name == 'missed':
        indices = np.flatnonzero(errors.missed)
        areas = np.array([_object_area(model.results[errors.gt_images[n]], errors.gt_indices[n]) for n in indices])
        chosen = [(-1, n) for n in indices[np.argsort(-areas, kind='stable')[:count]]]
    else:
        indices = np.flatnonzero(errors.types == FALSE_POSITIVE_TYPES.index(name))
        indices = indices[np.argsort(-errors.scores[indices], kind='stable')[:count]]
        chosen = [(d, errors.objects[d]) for d in indices]
    if not chosen:
        return None
    return grid([_example(model, errors, int(d), int(n), kind) for d, n in chosen], min(_COLUMNS, len(chosen)))


def _example(model: EvaluatedModel, errors: ErrorTypes, prediction: int, number: int, kind: str) -> np.ndarray:
    image = int(errors.images[prediction] if prediction >= 0 else errors.gt_images[number])
    result = model.results[image]
    img = read_image(result.img_path)
    ours = [] if prediction < 0 else [int(errors.indices[prediction])]
    theirs = [] if number < 0 else [int(errors.gt_indices[number])]
    points = np.concatenate([_corners(result, ours, False), _corners(result, theirs, True)]).reshape(-1, 2)
    window = Window.around(points, img.shape[:2], _SIDE)
    halves = [_cut(model, img, window, result, theirs, True, kind), _cut(model, img, window, result, ours, False, kind)]
    between = np.full((_SIDE, 2, 3), 255, np.uint8)
    return with_caption(np.concatenate([halves[0], between, halves[1]], 1), Path(result.img_path).name)


def _corners(sample: DetDataSample, rows: list[int], truth: bool) -> np.ndarray:
    """Return the corners ``(n, 4, 2)`` of upright or rotated boxes."""
    instances = sample.gt_instances if truth else sample.pred_instances
    if 'rbboxes' in instances:
        return rbbox_corners(instances.rbboxes[rows]).reshape(-1, 4, 2)
    x0, y0, x1, y1 = instances.bboxes[rows].reshape(-1, 4).T
    return np.stack([np.stack([x0, y0], -1), np.stack([x1, y0], -1), np.stack([x1, y1], -1), np.stack([x0, y1], -1)], 1)


def _object_area(sample: DetDataSample, index: int) -> float:
    corners = _corners(sample, [int(index)], True)[0]
    return float(np.ptp(corners[:, 0]) * np.ptp(corners[:, 1]))


def _cut(
    model: EvaluatedModel,
    img: np.ndarray,
    window: Window,
    sample: DetDataSample,
    rows: list[int],
    truth: bool,
    kind: str,
) -> np.ndarray:
    """Draw the objects or predictions of the ``rows`` on a window of the image, ``(_SIDE, _SIDE, 3)``."""
    instances = sample.gt_instances if truth else sample.pred_instances
    quads = window.moved(_corners(sample, rows, truth))
    bboxes = np.concatenate([quads.min(1), quads.max(1)], 1) if rows else np.zeros((0, 4))
    extra = {}
    if kind == 'rbbox':
        extra['rbboxes'] = window.moved_rbboxes(instances.rbboxes[rows].astype(np.float64))
    elif kind == 'segm' and rows:
        bitmaps = [window.cut(coco_mask.decode(instances.masks[row]), cv2.INTER_NEAREST) == 1 for row in rows]
        extra['masks'] = InstanceMasks.from_bool(np.stack(bitmaps))
    elif kind == 'keypoints' and rows:
        keypoints = instances.keypoints[rows]
        drawn = keypoints if truth else drawn_keypoints(keypoints, instances.keypoint_scores[rows])
        extra['keypoints'] = np.concatenate([window.moved(drawn[..., :2]), drawn[..., 2:]], 2)
        extra['keypoint_info'] = model.metainfo
    scores = None if truth else instances.scores[rows]
    return draw_instances(window.cut(img), bboxes, instances.labels[rows], model.classes, scores, **extra)
