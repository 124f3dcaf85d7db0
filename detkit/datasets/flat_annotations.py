"""The objects of a whole dataset as flat arrays, and their division among the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detkit.structures.annotations import Annotations, Polygons


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
        rles: for objects that are given as a bitmap, their COCO RLE by object.
        keypoints: ``(N, K, 3)`` x, y in pixels and visibility, or None.
        rbboxes: ``(N, 5)`` rotated boxes in pixels, or None.
    """

    images: np.ndarray
    labels: np.ndarray
    bboxes: np.ndarray
    ring_owners: np.ndarray
    ring_sizes: np.ndarray
    points: np.ndarray
    ignored: np.ndarray
    areas: np.ndarray
    rles: dict[int, dict]
    keypoints: np.ndarray | None = None
    rbboxes: np.ndarray | None = None

    def split(self, num_images: int) -> list[Annotations]:
        """Return one ``Annotations`` for each image. Outlines and RLEs are None everywhere if the dataset has none."""
        bboxes, points = self.bboxes.astype(np.float32), self.points.astype(np.float32)
        areas = self._fill_areas().astype(np.float32)
        keypoints = None if self.keypoints is None else self.keypoints.astype(np.float32)
        ring_images = self.images[self.ring_owners]
        numbers = np.arange(num_images + 1)
        objects = np.searchsorted(self.images, numbers)
        rings = np.searchsorted(ring_images, numbers)
        point_ends = np.concatenate([[0], np.cumsum(self.ring_sizes)])[rings]
        ring_owners = self.ring_owners - objects[:-1][ring_images]
        has_polygons, has_rles = len(self.ring_sizes) > 0, bool(self.rles)
        annotations = []
        for i in range(num_images):
            own, own_rings = slice(objects[i], objects[i + 1]), slice(rings[i], rings[i + 1])
            polygons = rles = None
            if has_polygons:
                own_points = points[point_ends[i] : point_ends[i + 1]]
                polygons = Polygons(own_points, self.ring_sizes[own_rings], ring_owners[own_rings])
            if has_rles:
                rles = [self.rles.get(j) for j in range(own.start, own.stop)]
            annotations.append(
                Annotations(
                    self.labels[own],
                    bboxes[own],
                    self.ignored[own],
                    areas[own],
                    polygons,
                    rles,
                    None if keypoints is None else keypoints[own],
                    None if self.rbboxes is None else self.rbboxes[own],
                )
            )
        return annotations

    def _fill_areas(self) -> np.ndarray:
        """Return ``(N,)``: the stated areas, with those that are not stated measured."""
        missing = np.isnan(self.areas)
        if not missing.any():
            return self.areas
        outline_areas = np.bincount(self.ring_owners, _ring_areas(self.points, self.ring_sizes), len(self.labels))
        box_areas = (self.bboxes[:, 2:] - self.bboxes[:, :2]).prod(1)
        has_ring = np.bincount(self.ring_owners, minlength=len(self.labels)) > 0
        return np.where(missing, np.where(has_ring, outline_areas, box_areas), self.areas)


def _ring_areas(points: np.ndarray, ring_sizes: np.ndarray) -> np.ndarray:
    """Return ``(R,)`` areas of closed rings, by the shoelace formula."""
    if not len(ring_sizes):
        return np.zeros(0)
    starts = np.cumsum(ring_sizes) - ring_sizes
    following = np.arange(1, len(points) + 1)
    following[starts + ring_sizes - 1] = starts
    # Relative to the ring's first point: far from the origin the products would cancel badly.
    points = points - np.repeat(points[starts], ring_sizes, axis=0)
    x, y = points.T
    return np.abs(np.add.reduceat(x * y[following] - x[following] * y, starts)) / 2
