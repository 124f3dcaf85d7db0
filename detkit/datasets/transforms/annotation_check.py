"""The check of the objects that a user's own transform returns, of each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detkit.structures.annotations import Annotations
from detkit.structures.sample import Sample

__all__ = ['mistake_of_annotations', 'mistake_of_objects']


def mistake_of_objects(before: Sample, after: Sample, num_classes: int | None) -> str | None:
    """Return what is wrong with the objects that a transform left, as the end of a sentence; None where nothing is.

    Looked at are those of the rendered image, which must be in it at least in part, and, before ``Render``, those of
    tiles that are not the former ones, which may be anywhere. A mistake is named with the image's path.

    Args:
        before, after: what the transform got, and what it returned.
        num_classes: the number of classes; None where labels are not known to be any.
    """
    path = before.record.img_path
    if after.annotations is not None:
        size = after.img.shape[:2] if after.img is not None else after.drawing and after.drawing.size
        mistake = mistake_of_annotations(after.annotations, size, num_classes, path)
        return mistake or _lost_values(before, after.annotations)
    if after.scene is None or after.scene is before.scene:
        return None
    former = {id(tile.annotations) for tile in before.scene.tiles} if before.scene is not None else ()
    changed = [tile.annotations for tile in after.scene.tiles if id(tile.annotations) not in former]
    return _mistake(changed, None, num_classes, path)


def _lost_values(before: Sample, annotations: Annotations) -> str | None:
    """Return which own values of the objects are gone."""
    known = {} if before.annotations is None else before.annotations.values
    lost = [name for name in known if name not in annotations.values]
    if not lost or not len(annotations):
        return None
    text = f'annotations without the values {", ".join(lost)} for {before.record.img_path}, which it was given'
    return f'{text}: change them by Annotations.select and dataclasses.replace, which keep all'


def mistake_of_annotations(
    annotations: Any, size: tuple[int, int] | None, num_classes: int | None, path: str
) -> str | None:
    """Return what is wrong with the objects of an image of a size (h, w), or None; see ``mistake_of_objects``."""
    return _mistake([annotations], size, num_classes, path)


def _mistake(parts: Sequence[Any], size: tuple[int, int] | None, num_classes: int | None, path: str) -> str | None:
    for part in parts:
        mistake = _mistake_of_arrays(part, path)
        if mistake:
            return mistake
    parts = [part for part in parts if len(part)]
    if not parts:
        return None
    labels, bboxes = parts[0].labels, parts[0].bboxes
    if len(parts) > 1:  # looked at together, as each look costs as much as some hundred objects
        labels, bboxes = (
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.bboxes for part in parts]),
        )
    # Reductions of a ufunc take half the time of the arrays' own methods, which counts for a few objects.
    low, high = np.minimum.reduce(bboxes, None), np.maximum.reduce(bboxes, None)  # NaN if one of them is
    if not (low >= 0 and high <= (min(size) if size else np.inf)) or high == np.inf:
        mistake = _mistake_of_boxes(bboxes, size, path)
        if mistake:
            return mistake
    if np.logical_or.reduce(bboxes[:, 2:] < bboxes[:, :2], None):
        box = bboxes[(bboxes[:, 2:] < bboxes[:, :2]).any(1)][0].tolist()
        return f'the box {box} for {path}, but boxes are (x0, y0, x1, y1) with x0 <= x1 and y0 <= y1'
    if num_classes and not (np.minimum.reduce(labels) >= 0 and np.maximum.reduce(labels) < num_classes):
        label = labels[(labels < 0) | (labels >= num_classes)][0]
        return f'the label {label} for {path}, but labels are 0 to {num_classes - 1}, the positions of the classes'
    return None


def _mistake_of_arrays(annotations: Any, path: str) -> str | None:
    """Return which array is none as it must be."""
    if not isinstance(annotations, Annotations):
        return f'annotations of {path} as a {type(annotations).__name__}, but they must be an Annotations'
    labels, bboxes = annotations.labels, annotations.bboxes
    if not (_is_array(labels, np.int64, ()) and _is_array(bboxes, np.float32, (4,)) and len(labels) == len(bboxes)):
        return _wrong_array(annotations, path)
    others = annotations.keypoints is not None or annotations.rbboxes is not None
    return _mistake_of_others(annotations, path) if others else None


def _is_array(value: Any, dtype: type, shape: tuple[int, ...]) -> bool:
    """Return whether a value is an array ``(N, *shape)`` of a type."""
    return isinstance(value, np.ndarray) and value.dtype == dtype and value.ndim > 0 and value.shape[1:] == shape


def _wrong_array(annotations: Annotations, path: str) -> str:
    """Return which of labels and boxes is no array as it must be."""
    labels, bboxes = annotations.labels, annotations.bboxes
    if not _is_array(labels, np.int64, ()):
        text = f'labels of {_described(labels)} for {path}, but they must be an array of int64 (N,)'
        return f'{text}: return labels.astype(np.int64)' if isinstance(labels, np.ndarray) else text
    if not _is_array(bboxes, np.float32, (4,)):
        text = f'bboxes of {_described(bboxes)} for {path}, but they must be an array of float32 (N, 4)'
        return f'{text}: return bboxes.astype(np.float32)' if _is_array(bboxes, np.float64, (4,)) else text
    return f'{len(bboxes)} bboxes and {len(labels)} labels for {path}, but each object has one of both'


def _mistake_of_others(annotations: Annotations, path: str) -> str | None:
    for name in ('keypoints', 'rbboxes'):
        values = getattr(annotations, name)
        if values is None:
            continue
        if not isinstance(values, np.ndarray) or values.dtype != np.float32 or len(values) != len(annotations.labels):
            many = f'float32 ({len(annotations.labels)}, …)'
            return f'{name} of {_described(values)} for {path}, but they must be an array of {many}'
        if not np.isfinite(values).all():
            return f'{name} for {path} that are no finite numbers'
    return None


def _mistake_of_boxes(bboxes: np.ndarray, size: tuple[int, int] | None, path: str) -> str | None:
    odd = bboxes[~np.isfinite(bboxes).all(1)]
    if len(odd):
        return f'the box {odd[0].tolist()} for {path}, but coordinates must be finite numbers'
    if size is None:
        return None
    height, width = size
    gone = bboxes[(bboxes[:, :2] >= (width, height)).any(1) | (bboxes[:, 2:] <= 0).any(1)]
    if not len(gone):
        return None
    text = f'the box {gone[0].tolist()} for {path}, of which nothing lies in the image of {width}x{height} pixels'
    return f'{text}: change boxes with the image, and leave out those that are gone'


def _described(value: Any) -> str:
    return f'{value.dtype} {value.shape}' if isinstance(value, np.ndarray) else type(value).__name__
