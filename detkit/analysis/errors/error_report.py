"""Files about the types of a model's errors: a chart, numbers, and pictures of examples cut out of their images."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from pycocotools import mask as coco_mask

from detkit.analysis.charts import COLOURS, panel, save_figure
from detkit.analysis.errors.error_types import (
    ERROR_TYPES,
    EXPLANATIONS,
    FALSE_POSITIVE_TYPES,
    DeltaAP,
    ErrorTypes,
    classify_errors,
    delta_ap,
)
from detkit.analysis.errors.evaluated_model import EvaluatedModel
from detkit.datasets.transforms.loading import read_image
from detkit.structures.bboxes import bbox_corners
from detkit.structures.data_sample import DetDataSample
from detkit.structures.masks import InstanceMasks
from detkit.structures.rotated_bboxes import rbbox_corners
from detkit.utils.errors import DataError
from detkit.utils.files import write_text
from detkit.utils.pictures import write_picture
from detkit.utils.tables import text_table
from detkit.visualization.drawing import draw_instances
from detkit.visualization.sheets import grid, with_caption
from detkit.visualization.skeletons import drawn_keypoints
from detkit.visualization.windows import Window

_SIDE = 300
_COLUMNS = 4


def write_errors(
    model: EvaluatedModel, folder: str | Path, kind: str | None = None, score_thr: float = 0.25, examples: int = 12
) -> str:
    """Write ``errors.png``, ``errors.json`` and, for each type of error, a sheet of the examples of the highest scores.

    Args:
        model: evaluated.
        folder: where to write; it is made if need be.
        kind: the kind of overlap; the config's last if None.
        score_thr: least score of a prediction that is counted and drawn; average precision is always that of all.
        examples: number of examples on a sheet.

    Returns:
        A table of the types.

    Raises:
        DataError: there is no object to find.
    """
    kind = model.chosen_kind(kind, 'kinds of errors')
    errors = classify_errors(model.results, model.classes, kind, model.metainfo.get('sigmas'), model.max_dets(kind))
    delta = delta_ap(errors, len(model.classes), score_thr)
    if delta.ap50 < 0:
        raise DataError(f'{model.label}: the data hold no object, so that there are no types of errors')
    folder = Path(folder)
    save_figure(plot_delta_ap(delta, score_thr), folder / 'errors.png')
    content = {
        'kind': kind,
        'score_thr': score_thr,
        'AP50': delta.ap50,
        'gains': delta.gains,
        'numbers': delta.numbers,
        'false positives': delta.false_positives,
        'false negatives': delta.false_negatives,
    }
    write_text(folder / 'errors.json', json.dumps(content, indent=1))
    sure = errors.above(score_thr)
    without = []
    for name in ERROR_TYPES:
        sheet, path = error_sheet(model, sure, name, examples, kind), folder / f'errors_{name}.jpg'
        if sheet is not None:
            write_picture(path, sheet)
            continue
        path.unlink(missing_ok=True)  # of an earlier analysis, which may be of another model
        if not delta.numbers[name]:
            without.append(name)
    note = f'\nno picture of {", ".join(without)}: no such error from a score of {score_thr:g} on' if without else ''
    return _error_table(delta, score_thr) + note


def _error_table(delta: DeltaAP, score_thr: float) -> str:
    rows = [[name, f'{delta.gains[name]:.3f}', f'{delta.numbers[name]:,}', EXPLANATIONS[name]] for name in ERROR_TYPES]
    rows += [
        ['all false', f'{delta.false_positives:.3f}', '', 'if no prediction were false'],
        ['all missed', f'{delta.false_negatives:.3f}', '', 'if every object had been found'],
    ]
    table = text_table(['error', 'AP50 lost', f'at score {score_thr:g}', 'what it is'], rows, left=(0, 3))
    return f'AP50 is {delta.ap50:.3f}\n{table}'


def plot_delta_ap(delta: DeltaAP, score_thr: float = 0.0) -> Figure:
    """Plot the average precision lost to each type of error, with their numbers from a score on."""
    figure, axes = panel(7, 3.3, tick_size=10, label_size=10, grid='')
    gains, rows = [delta.gains[name] for name in ERROR_TYPES], range(len(ERROR_TYPES))
    axes.barh(rows, gains, color=COLOURS[: len(ERROR_TYPES)], height=0.65)
    axes.set_yticks(rows, [f'{name}\n{EXPLANATIONS[name]}' for name in ERROR_TYPES], fontsize=8)
    axes.invert_yaxis()
    for row, name in enumerate(ERROR_TYPES):
        axes.text(gains[row], row, f'  {gains[row]:.3f}  ({delta.numbers[name]:,})', va='center', fontsize=9)
    axes.set_xlim(0, max(0.02, max(gains)) * 1.35)
    axes.set_xlabel(f'AP50 lost (number of errors from a score of {score_thr:g} on)')
    axes.set_title(f'AP50 is {delta.ap50:.3f}', fontsize=11)
    return figure


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
    ours = [] if prediction < 0 else [int(errors.indices[prediction])]
    theirs = [] if number < 0 else [int(errors.gt_indices[number])]
    return with_caption(example_picture(model, result, theirs, ours, kind), Path(result.img_path).name)


def example_picture(
    model: EvaluatedModel, sample: DetDataSample, objects: list[int], predictions: list[int], kind: str = 'bbox'
) -> np.ndarray:
    """Draw the same part of an image twice: objects on the left side, predictions on the right side.

    Args:
        model: evaluated.
        sample: one of its results.
        objects: indices of the objects.
        predictions: indices of the predictions; there must be an object or a prediction.
        kind: the kind of overlap; masks or keypoints are drawn if it is theirs.

    Raises:
        UnreadableImageError: the image cannot be read.
    """
    img = read_image(sample.img_path)
    points = np.concatenate([_corners(sample, predictions, False), _corners(sample, objects, True)]).reshape(-1, 2)
    window = Window.around(points, img.shape[:2], _SIDE)
    halves = [
        _cut(model, img, window, sample, objects, True, kind),
        _cut(model, img, window, sample, predictions, False, kind),
    ]
    between = np.full((_SIDE, 2, 3), 255, np.uint8)
    return np.concatenate([halves[0], between, halves[1]], 1)


def _corners(sample: DetDataSample, rows: list[int], truth: bool) -> np.ndarray:
    """Return the corners ``(n, 4, 2)`` of upright or rotated boxes."""
    instances = sample.gt_instances if truth else sample.pred_instances
    if 'rbboxes' in instances:
        return rbbox_corners(instances.rbboxes[rows]).reshape(-1, 4, 2)
    return bbox_corners(instances.bboxes[rows].reshape(-1, 4))


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
