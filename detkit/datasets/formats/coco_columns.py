"""COCO's annotations as columns: all that is checked of an entry alone, thousands of entries at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from detkit.datasets.flat_annotations import outline_areas
from detkit.datasets.formats.coco_hulls import hulls_of
from detkit.datasets.formats.coco_json import CocoAnnotation, is_id, show
from detkit.datasets.formats.coco_segmentations import LIMIT, is_number, read_bitmaps, read_rings

__all__ = ['Columns', 'is_box', 'read_columns']

_FLAG_KEYS = ('iscrowd', 'ignore')
_FLAGS = {'': False, '0': False, 'false': False, 'no': False, '1': True, 'true': True, 'yes': True}
_NO_FLAG = 'is neither 0 nor 1'
_NO_BOX = 'is not four finite numbers x, y, w, h'


@dataclass
class Columns:
    """M annotations of a file.

    Attributes:
        ids, image_ids, category_ids: ``(M,)`` int64, or objects where some are not whole numbers; None for no id.
        bboxes_xywh: ``(M, 4)`` float64, where none is stated around the outline or bitmap.
        derived_bboxes: ``(M,)`` bool: boxes that are not stated.
        areas: ``(M,)`` float64 as stated, else of the outline or bitmap, else NaN.
        odd_areas: ``(M,)`` bool: a stated area that is none, in whose place that of the outline or bitmap is.
        crowds: ``(M,)`` bool, ``iscrowd`` or ``ignore``.
        ignore_flags: ``(M,)`` bool: those that ``ignore`` alone makes such.
        ring_owners, ring_sizes, points: outlines as in ``FlatAnnotations``.
        odd_outlines: ``(M,)`` bool: objects with a ring that is none.
        rle_owners: ``(Q,)`` int64, ascending.
        rle_sizes: ``(Q, 2)`` int64 (h, w).
        rle_counts: Q compressed run lengths.
        keypoint_counts: ``(M,)`` int64, how many values the keypoints have.
        keypoint_values: float64, of all objects in a row.
        problems: by annotation, what is wrong with it: the text, and the text without values.
    """

    ids: np.ndarray
    image_ids: np.ndarray
    category_ids: np.ndarray
    bboxes_xywh: np.ndarray
    derived_bboxes: np.ndarray
    areas: np.ndarray
    odd_areas: np.ndarray
    crowds: np.ndarray
    ignore_flags: np.ndarray
    ring_owners: np.ndarray
    ring_sizes: np.ndarray
    points: np.ndarray
    odd_outlines: np.ndarray
    rle_owners: np.ndarray
    rle_sizes: np.ndarray
    rle_counts: list[bytes]
    keypoint_counts: np.ndarray
    keypoint_values: np.ndarray
    problems: dict[int, tuple[str, str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.crowds)

    def hulls(self) -> np.ndarray:
        """Return ``(M, 4)`` float64 xyxy, see ``hulls_of``."""
        rings = self.ring_owners, self.ring_sizes, self.points
        return hulls_of(len(self), *rings, self.rle_owners, self.rle_sizes, self.rle_counts)


def read_columns(entries: Sequence[CocoAnnotation | Any]) -> Columns:
    """Return the columns of annotations as ``read_in_blocks`` gives them."""
    problems: dict[int, tuple[str, str]] = {}
    if not all(type(entry) is CocoAnnotation for entry in entries):
        entries = [_convert(entry, number, problems) for number, entry in enumerate(entries)]
    count = len(entries)
    no_box = (np.nan,) * 4
    bboxes = np.fromiter(chain.from_iterable(entry.bbox or no_box for entry in entries), np.float64, 4 * count)
    bboxes = bboxes.reshape(-1, 4)
    areas = np.fromiter((np.nan if entry.area is None else entry.area for entry in entries), np.float64, count)
    odd_areas = ~((areas > 0) & (areas < LIMIT))
    areas[odd_areas] = np.nan
    odd_areas &= np.fromiter((entry.area is not None for entry in entries), bool, count)
    for key in _FLAG_KEYS:
        for number in [number for number, entry in enumerate(entries) if (getattr(entry, key) or 0) < 0]:
            reason = f'{key} {show(getattr(entries[number], key))} {_NO_FLAG}'
            problems.setdefault(number, (reason, f'an {key} that {_NO_FLAG}'))

    texts = [bytes(entry.segmentation) for entry in entries]
    rings, bitmaps = read_rings(texts), read_bitmaps(texts)
    for number, reason in bitmaps.broken.items():
        problems.setdefault(number, (reason, ''))
    rings.odd[bitmaps.empty] = True
    unknown = np.isnan(areas)
    if unknown.any():
        measured = outline_areas(rings.points, rings.owners, rings.sizes, count)
        measured[bitmaps.owners] = bitmaps.areas
        areas[unknown] = measured[unknown]
    derived = np.fromiter((entry.bbox is None for entry in entries), bool, count)
    derived[list(problems)] = False
    if derived.any():
        hulls = hulls_of(count, rings.owners, rings.sizes, rings.points, bitmaps.owners, bitmaps.sizes, bitmaps.counts)
        derived &= np.isfinite(hulls[:, 0])
        bboxes[derived] = np.concatenate([hulls[:, :2], hulls[:, 2:] - hulls[:, :2]], 1)[derived]
    for number in np.flatnonzero(~(np.abs(bboxes) < LIMIT).all(1)).tolist():
        problems.setdefault(number, (f'bbox {show(entries[number].bbox)} {_NO_BOX}', f'a bbox that {_NO_BOX}'))
    keypoints = [entry.keypoints or () for entry in entries]
    keypoint_counts = np.fromiter(map(len, keypoints), np.int64, count)
    return Columns(
        ids=_id_column([entry.id for entry in entries]),
        image_ids=_id_column([entry.image_id for entry in entries]),
        category_ids=_id_column([entry.category_id for entry in entries]),
        bboxes_xywh=bboxes,
        derived_bboxes=derived,
        areas=areas,
        odd_areas=odd_areas,
        crowds=np.fromiter((bool(entry.iscrowd or entry.ignore) for entry in entries), bool, count),
        ignore_flags=np.fromiter((bool(entry.ignore and not entry.iscrowd) for entry in entries), bool, count),
        ring_owners=rings.owners,
        ring_sizes=rings.sizes,
        points=rings.points.astype(np.float32),
        odd_outlines=rings.odd,
        rle_owners=bitmaps.owners,
        rle_sizes=bitmaps.sizes,
        rle_counts=bitmaps.counts,
        keypoint_counts=keypoint_counts,
        keypoint_values=np.fromiter(chain.from_iterable(keypoints), np.float64, int(keypoint_counts.sum())),
        problems=problems,
    )


def is_box(bbox: Any) -> bool:
    """Return whether ``bbox`` is a list of four numbers."""
    return isinstance(bbox, list) and len(bbox) == 4 and all(map(is_number, bbox))


def _read_flag(value: Any) -> bool | None:
    """Return what a value of ``iscrowd`` or ``ignore`` means; None where it means nothing."""
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower())
    if value is None or isinstance(value, int):
        return bool(value) if value is None or value >= 0 else None
    return bool(value) if isinstance(value, float) and value >= 0 and value.is_integer() else None


def _id_column(values: list) -> np.ndarray:
    if set(map(type, values)) <= {int}:
        try:
            return np.array(values, np.int64)
        except OverflowError:
            pass
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _convert(entry: Any, number: int, problems: dict[int, tuple[str, str]]) -> CocoAnnotation:
    """Return an entry of unknown form with what can be used of it, and note what makes it useless."""

    def note(kind: str, text: str = '') -> None:
        problems.setdefault(number, (text or kind, kind if text else ''))

    if isinstance(entry, CocoAnnotation):
        return entry
    if not isinstance(entry, dict):
        note('an entry of the list annotations that is no mapping')
        return CocoAnnotation()
    bbox, area, keypoints = entry.get('bbox'), entry.get('area'), entry.get('keypoints')
    if bbox in (None, []):
        bbox = None
    elif not is_box(bbox):
        note(f'a bbox that {_NO_BOX}', f'bbox {show(bbox)} {_NO_BOX}')
        bbox = None
    if area is not None and not is_number(area):
        area = np.nan
    if isinstance(keypoints, str | int | float | dict) and keypoints:
        keypoints = [0]  # one value, where none or three a keypoint are right
    elif not keypoints or not isinstance(keypoints, list):
        keypoints = None
    elif not all(map(is_number, keypoints)):
        keypoints = [value if is_number(value) else np.nan for value in keypoints]
    flags = {key: _read_flag(entry.get(key)) for key in _FLAG_KEYS}
    for key, flag in flags.items():
        if flag is None:
            note(f'an {key} that {_NO_FLAG}', f'{key} {show(entry[key])} {_NO_FLAG}')
    converted = CocoAnnotation(
        bbox=None if bbox is None else tuple(bbox),
        area=area,
        **flags,
        segmentation=msgspec.Raw(json.dumps(entry.get('segmentation')).encode()),
        keypoints=keypoints,
    )
    for key in ('id', 'image_id', 'category_id'):
        value = entry.get(key)
        if is_id(value):
            setattr(converted, key, value)
        elif key != 'id':
            note(f'a {key} that is neither a number nor text', f'{key} {show(value)} is neither a number nor text')
    return converted
