"""COCO's annotations as columns: all that is checked of an entry alone, thousands of entries at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from detkit.datasets.flat_annotations import outline_areas
from detkit.datasets.formats.coco_json import CocoAnnotation, CocoRle, is_id, show
from detkit.datasets.formats.coco_rle import measure_rles

__all__ = ['Columns', 'is_box', 'is_number', 'read_columns']

# No coordinate or area is larger.
_LIMIT = 1e15
_NO_BITMAP = 'a segmentation that is a broken bitmap: its run lengths do not make up its size'


@dataclass
class Columns:
    """M annotations of a file.

    Attributes:
        ids, image_ids, category_ids: ``(M,)`` int64, or objects where some are not whole numbers; None for no id.
        bboxes_xywh: ``(M, 4)`` float64.
        areas: ``(M,)`` float64 as stated, else of the outline or bitmap, else NaN.
        crowds: ``(M,)`` bool.
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
    areas: np.ndarray
    crowds: np.ndarray
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


def read_columns(entries: Sequence[CocoAnnotation | Any]) -> Columns:
    """Return the columns of annotations as ``read_in_blocks`` gives them."""
    problems: dict[int, tuple[str, str]] = {}
    if not all(type(entry) is CocoAnnotation for entry in entries):
        entries = [_convert(entry, number, problems) for number, entry in enumerate(entries)]
    count = len(entries)
    no_box = (np.nan,) * 4
    bboxes = np.fromiter(chain.from_iterable(entry.bbox or no_box for entry in entries), np.float64, 4 * count)
    bboxes = bboxes.reshape(-1, 4)
    for number in np.flatnonzero(~(np.abs(bboxes) < _LIMIT).all(1)).tolist():
        problem = f'bbox {show(entries[number].bbox)} is not four finite numbers x, y, w, h'
        problems.setdefault(number, (problem, 'a bbox that is not four finite numbers x, y, w, h'))
    areas = np.fromiter((np.nan if entry.area is None else entry.area for entry in entries), np.float64, count)
    areas[~(np.abs(areas) < _LIMIT)] = np.nan

    outlines = [entry.segmentation if type(entry.segmentation) is list else () for entry in entries]
    ring_owners, ring_sizes, points, odd = _read_rings(outlines)
    rles = [(number, entry.segmentation) for number, entry in enumerate(entries) if type(entry.segmentation) is CocoRle]
    rle_owners, rle_sizes, rle_counts, rle_areas = _read_rles(rles, problems)
    unknown = np.isnan(areas)
    if unknown.any():
        measured = outline_areas(points, ring_owners, ring_sizes, count)
        measured[rle_owners] = rle_areas
        areas[unknown] = measured[unknown]
    keypoints = [entry.keypoints or () for entry in entries]
    keypoint_counts = np.fromiter(map(len, keypoints), np.int64, count)
    return Columns(
        ids=_id_column([entry.id for entry in entries]),
        image_ids=_id_column([entry.image_id for entry in entries]),
        category_ids=_id_column([entry.category_id for entry in entries]),
        bboxes_xywh=bboxes,
        areas=areas,
        crowds=np.fromiter((bool(entry.iscrowd) for entry in entries), bool, count),
        ring_owners=ring_owners,
        ring_sizes=ring_sizes,
        points=points.astype(np.float32),
        odd_outlines=odd,
        rle_owners=rle_owners,
        rle_sizes=rle_sizes,
        rle_counts=rle_counts,
        keypoint_counts=keypoint_counts,
        keypoint_values=np.fromiter(chain.from_iterable(keypoints), np.float64, int(keypoint_counts.sum())),
        problems=problems,
    )


def is_box(bbox: Any) -> bool:
    """Return whether ``bbox`` is a list of four numbers."""
    return isinstance(bbox, list) and len(bbox) == 4 and all(map(is_number, bbox))


def is_number(value: Any) -> bool:
    """Return whether a value is a number that can be a coordinate or an area."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LIMIT < value < _LIMIT


def _id_column(values: list) -> np.ndarray:
    if set(map(type, values)) <= {int}:
        try:
            return np.array(values, np.int64)
        except OverflowError:
            pass
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _read_rings(outlines: Sequence[Sequence[list[float]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return owner and size of each ring that is one, all points as float64, and which objects had others."""
    rings = list(chain.from_iterable(outlines))
    owners = np.repeat(np.arange(len(outlines)), np.fromiter(map(len, outlines), np.int64, len(outlines)))
    lengths = np.fromiter(map(len, rings), np.int64, len(rings))
    good = (lengths >= 6) & (lengths % 2 == 0)
    if not good.all():
        rings = [ring for ring, keep in zip(rings, good.tolist(), strict=True) if keep]
    kept = lengths[good]
    values = np.fromiter(chain.from_iterable(rings), np.float64, int(kept.sum()))
    if not (np.abs(values) < _LIMIT).all():
        finite = np.logical_and.reduceat(np.abs(values) < _LIMIT, np.cumsum(kept) - kept)
        values = values[np.repeat(finite, kept)]
        good[np.flatnonzero(good)[~finite]] = False
    odd = np.zeros(len(outlines), bool)
    odd[owners[~good]] = True
    return owners[good], lengths[good] // 2, values.reshape(-1, 2), odd


def _read_rles(
    rles: Sequence[tuple[int, CocoRle]], problems: dict[int, tuple[str, str]]
) -> tuple[np.ndarray, np.ndarray, list[bytes], np.ndarray]:
    """Return owner, size, compressed run lengths and area of each bitmap; note those that are broken."""
    owners, sizes, counts = [], [], []
    for owner, rle in rles:
        height, width = rle.size
        if isinstance(rle.counts, str):
            text = rle.counts.encode('ascii', 'replace')
        else:
            whole = 0 < height and 0 < width and min(rle.counts, default=0) >= 0
            if not whole or sum(rle.counts) != height * width or height * width >= 1 << 31:
                problems.setdefault(owner, (_NO_BITMAP, ''))
                continue
            text = mask_utils.frPyObjects({'size': [height, width], 'counts': rle.counts}, height, width)['counts']
        owners.append(owner)
        sizes.append((height, width) if 0 < height < 1 << 24 and 0 < width < 1 << 24 else (0, 0))
        counts.append(text)
    totals, areas = measure_rles(counts)
    size_array = np.array(sizes, np.int64).reshape(-1, 2)
    good = (totals == size_array.prod(1)) & (totals > 0)
    for i in np.flatnonzero(~good):
        problems.setdefault(owners[i], (_NO_BITMAP, ''))
    kept = [text for text, keep in zip(counts, good.tolist(), strict=True) if keep]
    return np.array(owners, np.int64)[good], size_array[good], kept, areas[good].astype(np.float64)


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
    if not is_box(bbox):
        kind = 'a bbox that is not four finite numbers x, y, w, h'
        note(kind, f'bbox {show(bbox)} is not four finite numbers x, y, w, h')
        bbox = None
    if area is not None and not is_number(area):
        note('an area that is no number', f'area {show(area)} is no number')
        area = None
    if isinstance(keypoints, str | int | float | dict) and keypoints:
        keypoints = [0]  # one value, where none or three a keypoint are right
    elif not keypoints or not isinstance(keypoints, list):
        keypoints = None
    elif not all(map(is_number, keypoints)):
        keypoints = [value if is_number(value) else np.nan for value in keypoints]
    crowd = entry.get('iscrowd')
    converted = CocoAnnotation(
        bbox=None if bbox is None else tuple(bbox),
        area=area,
        iscrowd=crowd.strip().lower() not in ('', '0', 'false', 'no') if isinstance(crowd, str) else bool(crowd),
        segmentation=_convert_segmentation(entry.get('segmentation'), note),
        keypoints=keypoints,
    )
    for key in ('id', 'image_id', 'category_id'):
        value = entry.get(key)
        if is_id(value):
            setattr(converted, key, value)
        elif key != 'id':
            note(f'a {key} that is neither a number nor text', f'{key} {show(value)} is neither a number nor text')
    return converted


def _convert_segmentation(segmentation: Any, note: Any) -> list[list[float]] | CocoRle | None:
    """Return rings or a bitmap; a ring that holds anything but numbers is empty."""
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        size, counts = segmentation.get('size'), segmentation.get('counts')
        whole = isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size)
        runs = isinstance(counts, str) or (isinstance(counts, list) and all(type(run) is int for run in counts))
        if whole and runs:
            return CocoRle(tuple(size), counts)
        note('a segmentation that is a bitmap without a size of two whole numbers, or without counts')
        return None
    if not isinstance(segmentation, list):
        return [[]]
    if all(map(is_number, segmentation)):
        return [segmentation]  # one ring that nobody put into a list
    return [ring if isinstance(ring, list) and all(map(is_number, ring)) else [] for ring in segmentation]
