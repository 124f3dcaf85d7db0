"""The check of what a user's own dataset returns, while it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from mmengine.structures import InstanceData

from detkit.registry import package_of
from detkit.structures.annotations import Annotations, Record
from detkit.utils.errors import ConfigError, DetkitError, reason_of

# The fields of objects that have a meaning of their own.
_TAKEN = (
    *(each.name for each in fields(Annotations)),
    *('scores', 'masks', 'keypoint_scores', 'track_ids', 'names', 'segments', 'probs'),
)

__all__ = ['check_records', 'peek_own']


def check_records(records: Any, classes: Sequence[str] | None, name: str) -> None:
    """Refuse what ``load_records`` must not return.

    Args:
        records: what it returned.
        classes: the names of the labels, where they are known.
        name: the name of the dataset's class.

    Raises:
        ConfigError: they are no list of records, a label is no class, the corners of a box are swapped, a coordinate is
            no finite number, or a bitmap is broken.
    """
    title = f'{name}.load_records'
    odd = [type(record).__name__ for record in records if not isinstance(record, Record)] if records else []
    if records is None or odd:
        found = f'a list that holds a {odd[0]}' if odd else 'None'
        raise ConfigError(f'{title} returns {found}, but must return a list of Record (detkit.structures)')
    _check_same_values([record for record in records if len(record.annotations)], title)
    for record in records:
        labels, bboxes = record.annotations.labels, record.annotations.bboxes
        wrong = [label for label in labels.tolist() if classes and not 0 <= label < len(classes)]
        if wrong:
            raise ConfigError(
                f'{title} gives the label {wrong[0]} in {record.img_path}, but labels are 0 to {len(classes) - 1}, the '
                f'positions of the {len(classes)} classes'
            )
        mistake = _odd_coordinate(record.annotations) or _broken_bitmap(record) or _odd_values(record.annotations)
        if mistake:
            raise ConfigError(f'{title} gives {mistake} in {record.img_path}')
        swapped = np.flatnonzero((bboxes[:, 2:] < bboxes[:, :2]).any(1))
        if len(swapped):
            raise ConfigError(
                f'{title} gives the box {bboxes[swapped[0]].tolist()} in {record.img_path}, but boxes are '
                '(x0, y0, x1, y1) in pixels with x0 <= x1 and y0 <= y1'
            )


def _odd_coordinate(annotations: Annotations) -> str | None:
    """Return the array and the row that has a coordinate that is no finite number."""
    arrays = {name: getattr(annotations, name) for name in ('bboxes', 'rbboxes', 'keypoints')}
    arrays['polygons.points'] = None if annotations.polygons is None else annotations.polygons.points
    for name, values in arrays.items():
        if values is not None and not np.isfinite(values).all():
            row = next(row for row in values if not np.isfinite(row).all())
            return f'{name} with {row.tolist()}, which are no finite numbers,'
    return None


def _odd_values(annotations: Annotations) -> str | None:
    """Return which of the own values no batch can hold."""
    for name, value in annotations.values.items():
        if not isinstance(name, str) or not name.isidentifier() or name in _TAKEN or hasattr(InstanceData, name):
            return f'values of the name {name!r}, which is none of a field, or one that is taken,'
        if not isinstance(value, np.ndarray) or value.dtype.kind not in 'biuf':
            found = f'an array of {value.dtype}' if isinstance(value, np.ndarray) else f'a {type(value).__name__}'
            return f'values[{name!r}] as {found}, but they must be an array (N, …) of numbers or bool,'
    return None


def _check_same_values(records: Sequence[Record], title: str) -> None:
    """Refuse images with objects of which one has other own values than another."""
    forms = [{name: np.shape(value)[1:] for name, value in record.annotations.values.items()} for record in records]
    for record, form in zip(records, forms, strict=True):
        if form != forms[0]:
            raise ConfigError(
                f'{title} gives the values {form} (with the shape of an object) in {record.img_path}, but {forms[0]} '
                f'in {records[0].img_path}: give all objects the same, such as NaN where one is not known'
            )


def _broken_bitmap(record: Record) -> str | None:
    """Return what is wrong with one of the bitmaps; what draws them trusts their run lengths."""
    from detkit.datasets.formats.coco_rle import measure_rles  # the formats are built on this module

    for number, rle in enumerate(record.annotations.rles or ()):
        if rle is None:
            continue
        size, counts = (rle.get(key) for key in ('size', 'counts')) if isinstance(rle, Mapping) else (None, None)
        if not isinstance(counts, bytes) or not isinstance(size, Sequence) or len(size) != 2:
            return f'rles[{number}] = {rle!r}, but a bitmap is a dict as pycocotools.mask.encode returns it,'
        if record.ori_shape is not None and tuple(size) != tuple(record.ori_shape):
            return f'rles[{number}] of the size {list(size)}, where the image has {list(record.ori_shape)} (h, w),'
        if measure_rles([counts])[0].item() != size[0] * size[1]:
            return f'rles[{number}] whose run lengths do not make up its size {list(size)}'
    return None


def peek_own(dataset: Any, cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``peek`` of a user's own dataset class returns.

    Raises:
        ConfigError: it fails, or returns no dict.
    """
    title = f'{dataset.__name__}.peek'
    try:
        known = dataset.peek(cfg)
    except DetkitError:
        raise
    except Exception as error:
        raise ConfigError(f'{title} fails: {reason_of(error, {package_of(dataset)})}') from error
    if not isinstance(known, Mapping):
        text = f"{title} returns a {type(known).__name__}, but must return a dict such as {{'classes': ('cat',)}}"
        raise ConfigError(text)
    return dict(known)
