"""The annotations of one image: ``Annotations``, all numpy, and the ``Record`` that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from detkit.structures.polygons import Polygons
from detkit.utils.numbers import shortest_float32


@dataclass
class Annotations:
    """The objects of one image. Every array has the length N of ``labels``; optional ones may be ``None``.

    Attributes:
        labels: ``(N,)`` int64, 0 ... num_classes - 1.
        bboxes: ``(N, 4)`` float32 xyxy in pixels of the (upright) image.
        ignored: ``(N,)`` bool, crowd or difficult: never trained on, read by metrics.
        areas: ``(N,)`` float32, the area the dataset states in square pixels (where it states none, the outline's,
            or the box's for an object without one); of the original image, for metrics only.
        polygons: outlines, or None where the dataset has none at all.
        rles: for objects given as a bitmap: a list of N entries, each None or a COCO RLE dict at the original
            image's size; None where the dataset has none at all.
        keypoints: ``(N, K, 3)`` float32 x, y, visibility (0 unlabelled, 1 hidden, 2 visible).
        rbboxes: ``(N, 5)`` float32 (cx, cy, w, h, angle), see ``structures.rotated_bboxes``.
        values: by name, ``(N, …)`` numbers or bool of a user's own task, such as depths or attributes. They stay with
            their objects, and no transform changes them.
    """

    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    bboxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    ignored: np.ndarray | None = None
    areas: np.ndarray | None = None
    polygons: Polygons | None = None
    rles: list[dict | None] | None = None
    keypoints: np.ndarray | None = None
    rbboxes: np.ndarray | None = None
    values: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.ignored is None:
            self.ignored = np.zeros(len(self.labels), bool)
        if self.areas is None:
            if self.bboxes.dtype.kind not in 'fiu':
                raise ValueError(f'Annotations.bboxes must be an array of float32, found one of {self.bboxes.dtype}')
            wh = self.bboxes[:, 2:] - self.bboxes[:, :2]
            self.areas = wh.prod(1).astype(np.float32)
        count = len(self.labels)
        for name in ('bboxes', 'ignored', 'areas', 'rles', 'keypoints', 'rbboxes'):
            value = getattr(self, name)
            if value is not None and len(value) != count:
                raise ValueError(f'Annotations.{name} has {len(value)} rows for {count} labels')
        for name, value in self.values.items():
            if len(value) != count:
                raise ValueError(f'Annotations.values[{name!r}] has {len(value)} rows for {count} labels')

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, keep: np.ndarray) -> Annotations:
        """Return the objects where ``keep`` (``(N,)`` bool) holds, in the same order."""
        if keep.all():
            return self
        return Annotations(
            labels=self.labels[keep],
            bboxes=self.bboxes[keep],
            ignored=self.ignored[keep],
            areas=self.areas[keep],
            polygons=None if self.polygons is None else self.polygons.select(keep),
            rles=None if self.rles is None else [self.rles[i] for i in np.flatnonzero(keep)],
            keypoints=None if self.keypoints is None else self.keypoints[keep],
            rbboxes=None if self.rbboxes is None else self.rbboxes[keep],
            values={name: value[keep] for name, value in self.values.items()},
        )

    @staticmethod
    def concatenate(parts: Sequence[Annotations]) -> Annotations:
        """Concatenate the objects of several images.

        An optional array that some parts have and others lack is filled up: no rings, no bitmap, unlabelled keypoints,
        rotated boxes of size 0. Own values have no such filling: an image with objects has all that another one has.

        Raises:
            ValueError: an image with objects lacks values that another one has.
        """
        if len(parts) == 1:
            return parts[0]
        counts = [len(part) for part in parts]
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ('labels', 'bboxes', 'ignored', 'areas')
        }
        if any(part.polygons is not None for part in parts):
            joined['polygons'] = Polygons.concatenate([part.polygons or Polygons() for part in parts], counts)
        if any(part.rles is not None for part in parts):
            joined['rles'] = [rle for part in parts for rle in (part.rles or [None] * len(part))]
        for name in ('keypoints', 'rbboxes'):
            arrays = [getattr(part, name) for part in parts]
            shape = next((array.shape[1:] for array in arrays if array is not None), None)
            if shape is not None:
                filled = [
                    np.zeros((count, *shape), np.float32) if array is None else array
                    for array, count in zip(arrays, counts, strict=True)
                ]
                joined[name] = np.concatenate(filled)
        joined['values'] = {
            name: np.concatenate([part.values[name] for part in parts if name in part.values])
            for name in dict.fromkeys(name for part in parts for name in part.values)
        }
        for name, value in joined['values'].items():
            if len(value) != sum(counts):
                lacking = sum(count for part, count in zip(parts, counts, strict=True) if name not in part.values)
                raise ValueError(f'Annotations.values: {lacking} of {sum(counts)} objects have no {name!r}')
        return Annotations(**joined)


@dataclass(frozen=True)
class SegmentFile:
    """The file with the bitmaps of an image's objects: a PNG whose colours are ids (see ``structures.panoptic``).

    Attributes:
        path: the path of the PNG.
        ids: ``(N,)`` int64, the id of each object of the record's annotations.
    """

    path: str
    ids: np.ndarray


@dataclass
class Record:
    """One image of a dataset as its annotation files describe it; nothing of it is decoded yet.

    Attributes:
        img_path: the path of the image.
        img_id: the dataset's own id (as a COCO file gives it; by the file's name elsewhere).
        ori_shape: (h, w) of the upright image (EXIF rotation applied), or None where reading it was not needed.
        annotations: the objects, in pixels of that upright image.
        class_label: the class of the whole image, for classification; None elsewhere.
        segments: in a panoptic dataset, the file that ``LoadSegments`` reads the objects' bitmaps from.
    """

    img_path: str
    img_id: int | float | str
    ori_shape: tuple[int, int] | None
    annotations: Annotations
    class_label: int | None = None
    segments: SegmentFile | None = None


def coco_segmentations(annotations: Annotations) -> list[list[list[float]] | dict]:
    """Return each object's ``segmentation`` in COCO's format: flat rings or an RLE, or its box where it has neither.

    Coordinates are the decimal numbers that the float32 ones were read from: pycocotools rounds to fifths of a pixel,
    half of one up, where float32's own deviation chooses another side at each tenth.
    """
    rings: list[list[list[float]]] = [[] for _ in range(len(annotations))]
    if annotations.polygons is not None:
        polygons = replace(annotations.polygons, points=shortest_float32(annotations.polygons.points))
        for owner, ring in zip(polygons.ring_owners, polygons.rings(), strict=True):
            rings[owner].append(ring.ravel().tolist())
    rles = annotations.rles or [None] * len(annotations)
    found = [rle or outline for rle, outline in zip(rles, rings, strict=True)]
    if all(found):
        return found
    corners = shortest_float32(annotations.bboxes[:, [0, 1, 2, 1, 2, 3, 0, 3]]).tolist()
    return [own or [box] for own, box in zip(found, corners, strict=True)]
