"""``Polygons``: the ragged outlines of many objects as flat arrays, and what is done to all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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

    @property
    def ring_starts(self) -> np.ndarray:
        """``(R,)`` the first point of each ring."""
        return np.cumsum(self.ring_sizes) - self.ring_sizes

    def rings(self) -> list[np.ndarray]:
        """Return one ``(K, 2)`` view a ring."""
        return np.split(self.points, np.cumsum(self.ring_sizes)[:-1]) if len(self.ring_sizes) else []

    def moved(self, matrix: np.ndarray) -> Polygons:
        """Return all points taken through a 3x3 matrix."""
        return Polygons(move_points(self.points, matrix), self.ring_sizes, self.ring_owners)

    def select(self, keep: np.ndarray) -> Polygons:
        """Return the rings of the chosen objects, renumbered.

        Args:
            keep: ``(N,)`` bool over the objects.
        """
        if keep.all():
            return self
        ring_keep = keep[self.ring_owners]
        return Polygons(
            self.points[np.repeat(ring_keep, self.ring_sizes)],
            self.ring_sizes[ring_keep],
            (np.cumsum(keep) - 1)[self.ring_owners[ring_keep]],
        )

    @staticmethod
    def concatenate(parts: Sequence[Polygons], counts: Sequence[int]) -> Polygons:
        """Concatenate several sets.

        Args:
            parts: the sets.
            counts: the number of objects of each.
        """
        offsets = np.cumsum([0, *counts])
        return Polygons(
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.ring_sizes for part in parts]),
            np.concatenate([part.ring_owners + offset for part, offset in zip(parts, offsets, strict=False)]),
        )

    def sorted_by_owner(self) -> Polygons:
        """Return the same rings in the order of their owners, as every ``Polygons`` has to keep them."""
        order = np.argsort(self.ring_owners, kind='stable')
        starts, sizes = self.ring_starts[order], self.ring_sizes[order]
        firsts = np.cumsum(sizes) - sizes
        index = np.arange(len(self.points)) + np.repeat(starts - firsts, sizes)
        return Polygons(self.points[index], sizes, self.ring_owners[order])

    def clip(self, rect: tuple[float, float, float, float] | np.ndarray) -> Polygons:
        """Return the parts inside ``rect`` (xyxy), by Sutherland and Hodgman (1974), all rings at once.

        A ring that leaves nothing is dropped. A concave ring cut in two stays one ring whose parts are joined along the
        rectangle's border, which changes neither its area nor its box.
        """
        if not len(self.points):
            return self
        low, high = self.points.min(0).tolist(), self.points.max(0).tolist()
        x0, y0, x1, y1 = (float(value) for value in rect)
        clipped = self
        for axis, bound, sign, needed in (
            (0, x0, 1, low[0] < x0),
            (1, y0, 1, low[1] < y0),
            (0, x1, -1, high[0] > x1),
            (1, y1, -1, high[1] > y1),
        ):
            if needed:
                clipped = _clip_side(clipped, axis, bound, sign)
        return clipped

    def seen_in(self, rect: tuple[float, float, float, float] | np.ndarray) -> np.ndarray:
        """Return ``(R,)`` bool: the rings of which a part with a width and a height lies inside ``rect`` (xyxy)."""
        count = len(self.ring_sizes)
        hulls = Polygons(self.points, self.ring_sizes, np.arange(count)).clip(rect).bboxes(count)
        return (hulls[:, 2:] > hulls[:, :2]).all(1)

    def bboxes(self, num_objects: int) -> np.ndarray:
        """Return ``(N, 4)`` xyxy around all rings of each object; zeros for an object without one."""
        bboxes = np.zeros((num_objects, 4), self.points.dtype)
        if len(self.ring_sizes):
            first_rings = np.flatnonzero(np.diff(self.ring_owners, prepend=-1))
            starts = self.ring_starts[first_rings]
            columns = np.ascontiguousarray(self.points.T)  # (P, 2) -> (2, P): reduceat is fast along the last axis
            owners = self.ring_owners[first_rings]
            bboxes[owners, :2] = np.minimum.reduceat(columns, starts, axis=1).T
            bboxes[owners, 2:] = np.maximum.reduceat(columns, starts, axis=1).T
        return bboxes

    def areas(self, num_objects: int) -> np.ndarray:
        """Return ``(N,)`` float64 area of each object by the shoelace formula, its rings summed."""
        if not len(self.ring_sizes):
            return np.zeros(num_objects)
        x, y = self.points.astype(np.float64).T
        after = self.next_points()
        doubled = np.add.reduceat(x * y[after] - x[after] * y, self.ring_starts)
        return np.bincount(self.ring_owners, np.abs(doubled) / 2, minlength=num_objects)

    def next_points(self) -> np.ndarray:
        """Return ``(P,)`` the index of the point that follows each one round its ring."""
        after = np.arange(1, len(self.points) + 1)
        after[np.cumsum(self.ring_sizes) - 1] = self.ring_starts
        return after


def move_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Move ``(P, 2)`` points by a 3x3 matrix, in float64, and return them in their own type."""
    moved = points @ matrix[:2, :2].T + matrix[:2, 2]
    if matrix[2, 0] or matrix[2, 1] or matrix[2, 2] != 1:
        moved /= (points @ matrix[2, :2] + matrix[2, 2])[:, None]
    return moved.astype(points.dtype, copy=False)


def _clip_side(polygons: Polygons, axis: int, bound: float, sign: int) -> Polygons:
    """Cut off what lies beyond one side: keeps points with ``sign * (coordinate - bound) >= 0``."""
    points = polygons.points
    depths = (points[:, axis] - bound) * sign
    inside = depths >= 0
    after = polygons.next_points()
    crosses = inside != inside[after]
    # Each point emits itself when inside, then the crossing of the edge to its successor.
    counts = inside.astype(np.int64) + crosses
    slots = np.cumsum(counts) - counts
    out = np.empty((int(counts.sum()), 2), points.dtype)
    out[slots[inside]] = points[inside]
    start, end = points[crosses], points[after[crosses]]
    fraction = depths[crosses] / (depths[crosses] - depths[after[crosses]])
    crossing = start + fraction[:, None] * (end - start)
    crossing[:, axis] = bound
    out[slots[crosses] + inside[crosses]] = crossing
    new_sizes = np.add.reduceat(counts, polygons.ring_starts)
    left = new_sizes > 0
    return Polygons(out, new_sizes[left], polygons.ring_owners[left])
