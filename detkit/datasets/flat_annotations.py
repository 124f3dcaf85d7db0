"""The objects of a whole dataset as flat arrays, and the records made of them."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise

import numpy as np

from detkit.datasets.records import PackedBytes, Records
from detkit.structures.annotations import Annotations, Polygons, Record, SegmentFile
from detkit.utils.errors import DataError

__all__ = ['FlatAnnotations', 'FlatRecords', 'outline_areas']


# Points of outlines whose areas are measured at a time.
_BLOCK_POINTS = 1 << 20


@dataclass
class FlatAnnotations:
    """N objects of all images, as a reader of annotation files collects them.

    Attributes:
        images: ``(N,)`` int64, the image each object is in, non-decreasing.
        labels: ``(N,)`` int64.
        bboxes: ``(N, 4)`` xyxy in pixels.
        ring_owners: ``(R,)`` int64, non-decreasing, the object each ring belongs to.
        ring_sizes: ``(R,)`` int64, the number of points of each ring.
        points: ``(P, 2)`` pixels, the points of all rings in a row.
        ignored: ``(N,)`` bool.
        areas: ``(N,)`` square pixels; NaN where the files state none: the outline's is taken then, else the box's.
        rle_owners: ``(Q,)`` int64, ascending, the objects that are given as a bitmap of their image.
        rle_counts: Q compressed run lengths of COCO's.
        keypoints: ``(N, K, 3)`` x, y in pixels and visibility, or None.
        rbboxes: ``(N, 5)`` rotated boxes in pixels, or None.
        segment_ids: ``(N,)`` int64, ids of the objects in their image's ``SegmentFile``, or None.
        values: see ``Annotations``.
    """

    images: np.ndarray
    labels: np.ndarray
    bboxes: np.ndarray
    ring_owners: np.ndarray
    ring_sizes: np.ndarray
    points: np.ndarray
    ignored: np.ndarray
    areas: np.ndarray
    rle_owners: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    rle_counts: Sequence[bytes] = ()
    keypoints: np.ndarray | None = None
    rbboxes: np.ndarray | None = None
    segment_ids: np.ndarray | None = None
    values: Mapping[str, np.ndarray] = field(default_factory=dict)

    @staticmethod
    def join(parts: Sequence[Annotations]) -> FlatAnnotations:
        """Return the objects of one ``Annotations`` an image."""
        whole = Annotations.concatenate(parts or [Annotations()])
        polygons = whole.polygons or Polygons()
        rles = [(owner, rle['counts']) for owner, rle in enumerate(whole.rles or ()) if rle is not None]
        return FlatAnnotations(
            images=np.repeat(np.arange(len(parts)), np.array([len(part) for part in parts], np.int64)),
            labels=whole.labels,
            bboxes=whole.bboxes,
            ring_owners=polygons.ring_owners,
            ring_sizes=polygons.ring_sizes,
            points=polygons.points,
            ignored=whole.ignored,
            areas=whole.areas,
            rle_owners=np.array([owner for owner, _ in rles], np.int64),
            rle_counts=[counts for _, counts in rles],
            keypoints=whole.keypoints,
            rbboxes=whole.rbboxes,
            values=whole.values,
        )

    def select(self, keep: np.ndarray) -> FlatAnnotations:
        """Return the objects where ``keep`` (``(N,)`` bool) holds, in the same order."""
        if keep.all():
            return self
        polygons = Polygons(self.points, self.ring_sizes, self.ring_owners).select(keep)
        rle_keep = keep[self.rle_owners]

        def chosen(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[keep]

        return FlatAnnotations(
            images=self.images[keep],
            labels=self.labels[keep],
            bboxes=self.bboxes[keep],
            ring_owners=polygons.ring_owners,
            ring_sizes=polygons.ring_sizes,
            points=polygons.points,
            ignored=self.ignored[keep],
            areas=self.areas[keep],
            rle_owners=(np.cumsum(keep) - 1)[self.rle_owners[rle_keep]],
            rle_counts=[self.rle_counts[i] for i in np.flatnonzero(rle_keep)],
            keypoints=chosen(self.keypoints),
            rbboxes=chosen(self.rbboxes),
            segment_ids=chosen(self.segment_ids),
            values={name: value[keep] for name, value in self.values.items()},
        )

    def packed(self) -> FlatAnnotations:
        """Return the same objects with all areas known, in the types of ``Annotations``."""
        missing = np.isnan(self.areas)
        areas = self.areas
        if missing.any():
            outlines = outline_areas(self.points, self.ring_owners, self.ring_sizes, len(self.labels))
            box_areas = (self.bboxes[:, 2:] - self.bboxes[:, :2]).prod(1)
            areas = np.where(missing, np.where(np.isnan(outlines), box_areas, outlines), areas)

        def single(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array.astype(np.float32, copy=False)

        return replace(
            self,
            bboxes=single(self.bboxes),
            points=single(self.points),
            areas=single(areas),
            rle_counts=PackedBytes(self.rle_counts),
            keypoints=single(self.keypoints),
            rbboxes=single(self.rbboxes),
            values={name: single(value) if value.dtype.kind == 'f' else value for name, value in self.values.items()},
        )


class FlatRecords(Records):
    """Images with objects.

    Args:
        paths: I paths of the images.
        ids: I ids.
        shapes: ``(I, 2)`` (h, w), zeros where a size is not known.
        objects: of all images.
        class_labels: ``(I,)`` classes of whole images, -1 for those that have none.
        segment_paths: I paths of the files that ``objects.segment_ids`` speak of, '' for an image without one; None
            where there are none at all.

    Attributes:
        objects: of all images that there were at first, ``order`` or not.
    """

    def __init__(
        self,
        paths: Sequence[str],
        ids: Sequence[int | float | str],
        shapes: np.ndarray,
        objects: FlatAnnotations,
        class_labels: np.ndarray | None = None,
        segment_paths: Sequence[str] | None = None,
    ) -> None:
        super().__init__(len(paths))
        _check_ids(paths, ids)
        self._paths = PackedBytes(map(os.fsencode, paths))
        self._ids = _pack_ids(ids)
        self._shapes = np.asarray(shapes, np.int64).reshape(-1, 2)
        self._class_labels = class_labels
        self._segment_paths = None if segment_paths is None else PackedBytes(map(os.fsencode, segment_paths))
        self._take(objects)

    def _take(self, objects: FlatAnnotations) -> None:
        self.objects = objects.packed()
        numbers = np.arange(len(self._paths) + 1)
        self._ends = np.searchsorted(objects.images, numbers)
        self._ring_ends = np.searchsorted(objects.ring_owners, self._ends)
        self._point_ends = np.concatenate([[0], np.cumsum(objects.ring_sizes)])[self._ring_ends]
        self._rle_ends = np.searchsorted(objects.rle_owners, self._ends)

    @staticmethod
    def of(records: Sequence[Record]) -> FlatRecords:
        """Return the same records in flat arrays."""
        labels = [-1 if record.class_label is None else record.class_label for record in records]
        segments = [record.segments for record in records]
        objects = FlatAnnotations.join([record.annotations for record in records])
        paths = None
        if any(part is not None for part in segments):
            paths = ['' if part is None else part.path for part in segments]
            ids = [
                np.zeros(len(record.annotations), np.int64) if record.segments is None else record.segments.ids
                for record in records
            ]
            objects = replace(objects, segment_ids=np.concatenate(ids))
        return FlatRecords(
            [record.img_path for record in records],
            [record.img_id for record in records],
            np.array([_shape_of(record) for record in records], np.int64),
            objects,
            None if set(labels) <= {-1} else np.array(labels, np.int64),
            paths,
        )

    def make(self, number: int) -> Record:
        height, width = self._shapes[number].tolist()
        shape = (height, width) if height else None
        labels, segments = self._class_labels, None
        if self._segment_paths is not None and (path := self._segment_paths[number]):
            segments = SegmentFile(os.fsdecode(path), self.objects.segment_ids[self._own(number)])
        return Record(
            os.fsdecode(self._paths[number]),
            self._make_id(number),
            shape,
            self._annotations(number, shape),
            None if labels is None or labels[number] < 0 else int(labels[number]),
            segments,
        )

    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        learnt = self._learnt()
        images, labels = self.images_of_objects()[learnt], self.objects.labels[learnt]
        if self._class_labels is not None:
            own = self._class_labels[self.order]
            whole = np.flatnonzero(own >= 0)
            images, labels = np.concatenate([images, whole]), np.concatenate([labels, own[whole]])
        return images, labels

    def images_of_objects(self) -> np.ndarray:
        """Return ``(N,)`` int64: the index of the image that each of ``objects`` is in, -1 where it was left out."""
        return self.indices_of(self.objects.images, len(self._paths))

    def _objects_in_full(self) -> Iterator[np.ndarray | bytes]:
        yield self.images_of_objects()
        for own in fields(FlatAnnotations):
            values = getattr(self.objects, own.name)
            if own.name == 'values':
                yield from (part for name, value in sorted(values.items()) for part in (name.encode(), value))
            elif values is not None:
                yield values if isinstance(values, np.ndarray) else b'\n'.join(values)

    def paths(self) -> list[str]:
        return [os.fsdecode(self._paths[number]) for number in self.order]

    def count_lacking(self, need: str) -> tuple[int, int]:
        if need == 'label':
            own = self._class_labels
            return len(self) if own is None else int((own[self.order] < 0).sum()), len(self)
        objects, learnt = self.objects, self._learnt()
        has = np.zeros(len(learnt), bool)
        if need == 'segm':
            has[objects.ring_owners] = has[objects.rle_owners] = True
            has |= objects.segment_ids is not None
        elif need == 'keypoints' and objects.keypoints is not None:
            has = (objects.keypoints[..., 2] > 0).any(1)
        elif need == 'rbbox':
            has |= objects.rbboxes is not None
        return int((learnt & ~has).sum()), int(learnt.sum())

    def _learnt(self) -> np.ndarray:
        """Return which objects, ``(N,)`` bool, are in these images and not ignored."""
        return (self.images_of_objects() >= 0) & ~self.objects.ignored

    def shapes(self) -> np.ndarray:
        return self._shapes[self.order]

    def with_one_class(self) -> FlatRecords:
        same = copy.copy(self)
        same.objects = replace(self.objects, labels=np.zeros_like(self.objects.labels))
        return same

    def with_labels(self, table: np.ndarray) -> FlatRecords:
        labels = table[self.objects.labels]
        same = self.select_objects(labels >= 0)
        same.objects = replace(same.objects, labels=labels[labels >= 0])
        if self._class_labels is not None:
            own = self._class_labels
            same._class_labels = np.where(own >= 0, table[own], -1)
            same.order = self.order[((own < 0) | (same._class_labels >= 0))[self.order]]
        return same

    def select_objects(self, keep: np.ndarray) -> FlatRecords:
        """Return the same images with those objects only where ``keep`` (``(N,)`` bool) holds."""
        same = copy.copy(self)
        same._take(self.objects.select(keep))
        return same

    def _own(self, number: int) -> slice:
        return slice(int(self._ends[number]), int(self._ends[number + 1]))

    def _make_id(self, number: int) -> int | float | str:
        own = self._ids[number]
        return json.loads(own) if isinstance(own, bytes) else int(own)

    def _annotations(self, number: int, shape: tuple[int, int] | None) -> Annotations:
        """Return an image's objects. Outlines and bitmaps are None everywhere if the dataset has none."""
        objects, own = self.objects, self._own(number)
        polygons = rles = None
        if len(objects.ring_sizes):
            rings = slice(self._ring_ends[number], self._ring_ends[number + 1])
            points = _read_only(objects.points[self._point_ends[number] : self._point_ends[number + 1]])
            owners = objects.ring_owners[rings] - own.start
            polygons = Polygons(points, _read_only(objects.ring_sizes[rings]), owners)
        if len(objects.rle_owners):
            rles = [None] * (own.stop - own.start)
            for i in range(self._rle_ends[number], self._rle_ends[number + 1]):
                rle = {'size': list(shape), 'counts': objects.rle_counts[i]}
                rles[int(objects.rle_owners[i]) - own.start] = rle
        return Annotations(
            *(_read_only(each[own]) for each in (objects.labels, objects.bboxes, objects.ignored, objects.areas)),
            polygons,
            rles,
            None if objects.keypoints is None else _read_only(objects.keypoints[own]),
            None if objects.rbboxes is None else _read_only(objects.rbboxes[own]),
            {name: _read_only(value[own]) for name, value in objects.values.items()},
        )


def _read_only(part: np.ndarray) -> np.ndarray:
    """Let a part of an array be changed by nobody who is given it, as all later epochs read the array."""
    part.flags.writeable = False
    return part


def _check_ids(paths: Sequence[str], ids: Sequence[int | float | str]) -> None:
    """Refuse two images of one id, of which a metric or a file of results would keep one."""
    if len(set(ids)) == len(ids):
        return
    first: dict[int | float | str, str] = {}
    for path, own in zip(paths, ids, strict=True):
        if own in first:
            raise DataError(
                f'the images {first[own]!r} and {path!r} have one id, {own!r}, but results are kept by id: give each '
                'record of a dataset an img_id of its own, and list no image twice'
            )
        first[own] = path


def _shape_of(record: Record) -> tuple[int, int]:
    """Return (h, w) of an image, which its bitmaps have too; zeros where neither is known."""
    sizes = (tuple(rle['size']) for rle in record.annotations.rles or () if rle is not None)
    return record.ori_shape or next(sizes, (0, 0))


def _pack_ids(ids: Sequence[int | float | str]) -> np.ndarray | PackedBytes:
    """Return int64, or the ids in JSON where they are no whole numbers."""
    if all(type(own) is int and abs(own) < 1 << 63 for own in ids):
        return np.array(ids, np.int64)
    return PackedBytes(json.dumps(own).encode() for own in ids)


def outline_areas(points: np.ndarray, owners: np.ndarray, sizes: np.ndarray, count: int) -> np.ndarray:
    """Return ``(count,)`` float64 areas of objects by the shoelace formula, their rings summed; NaN without a ring.

    Args:
        points: ``(P, 2)``, the points of all rings in a row.
        owners: ``(R,)`` the object that a ring belongs to.
        sizes: ``(R,)`` the number of points of each ring.
        count: the number of objects.
    """
    areas = np.full(count, np.nan)
    if not len(sizes):
        return areas
    ends = np.cumsum(sizes)
    # A block of rings at a time, as what is computed on the way takes several times the memory of the points.
    cuts = np.unique(np.searchsorted(ends, np.arange(_BLOCK_POINTS, ends[-1], _BLOCK_POINTS), 'right'))
    bounds = [0, *cuts[(cuts > 0) & (cuts < len(sizes))].tolist(), len(sizes)]
    ring_areas = np.concatenate(
        [
            _ring_areas(points[ends[first] - sizes[first] : ends[last - 1]], sizes[first:last])
            for first, last in pairwise(bounds)
        ]
    )
    areas[owners] = np.bincount(owners, ring_areas, minlength=count)[owners]
    return areas


def _ring_areas(points: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return ``(R,)`` areas of closed rings."""
    starts = np.cumsum(sizes) - sizes
    following = np.arange(1, len(points) + 1)
    following[starts + sizes - 1] = starts
    # Relative to the ring's first point: far from the origin the products would cancel badly.
    points = points.astype(np.float64) - np.repeat(points[starts].astype(np.float64), sizes, axis=0)
    x, y = points.T
    return np.abs(np.add.reduceat(x * y[following] - x[following] * y, starts)) / 2
