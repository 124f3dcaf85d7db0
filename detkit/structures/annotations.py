"""What a data set says of one image: ``Annotations`` and the ragged ``Polygons`` in them, all numpy."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np


@dataclass
class Polygons:
    """The outlines of N objects as flat arrays, so that all of them move with one matrix product.

    An object may have several rings (COCO) or none (known by its box alone). Rings are stored in the order
    of their owners.

    Attributes:
        points: ``(P, 2)`` float32, x and y in pixels of the current image; the points of all rings in a row.
        ring_sizes: ``(R,)`` int64, the number of points of each ring; their sum is P.
        ring_owners: ``(R,)`` int64, non-decreasing, the object each ring belongs to.
    """

    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    ring_sizes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ring_owners: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass
class Annotations:
    """The objects of one image. Every array has the length N of ``labels``; optional ones may be ``None``.

    Attributes:
        labels: ``(N,)`` int64, 0 ... num_classes - 1.
        bboxes: ``(N, 4)`` float32 xyxy in pixels of the (upright) image.
        ignored: ``(N,)`` bool, crowd or difficult: never trained on, read by metrics.
        areas: ``(N,)`` float32, the area the data set states in square pixels (the box's where it states none);
            of the original image, for metrics only.
        polygons: outlines, or None where the data set has none at all.
        rles: for objects given as a bitmap: a list of N entries, each None or a COCO RLE dict at the original
            image's size; None where the data set has none at all.
        keypoints: ``(N, K, 3)`` float32 x, y, visibility (0 unlabelled, 1 hidden, 2 visible).
        rbboxes: ``(N, 5)`` float32 (cx, cy, w, h, angle), see ``structures.rotated_bboxes``.
    """

    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    bboxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    ignored: np.ndarray | None = None
    areas: np.ndarray | None = None
    polygons: Polygons | None = None
    rles: list[dict | None] | None = None
    keypoints: np.ndarray | None = None
    rbboxes: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.ignored is None:
            self.ignored = np.zeros(len(self.labels), bool)
        if self.areas is None:
            wh = self.bboxes[:, 2:] - self.bboxes[:, :2]
            self.areas = wh.prod(1).astype(np.float32)
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value is not None and entry.name != 'polygons' and len(value) != len(self.labels):
                raise ValueError(f'Annotations.{entry.name} has {len(value)} rows for {len(self.labels)} labels')

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Record:
    """One image of a data set as its annotation files describe it; nothing of it is decoded yet.

    Attributes:
        img_path: where the image lies.
        img_id: the data set's own id (COCO's integer; the file's stem elsewhere).
        ori_shape: (h, w) of the upright image (EXIF rotation applied), or None where reading it was not needed.
        annotations: in pixels of that upright image.
    """

    img_path: str
    img_id: int | str
    ori_shape: tuple[int, int] | None
    annotations: Annotations
