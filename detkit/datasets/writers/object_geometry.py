"""Objects as writers of annotation formats need them: outlines, corners, and numbers of few digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from pycocotools import mask as mask_utils

from detkit.datasets.transforms.loading import UnreadableImageError
from detkit.datasets.transforms.segments import read_segments
from detkit.datasets.writers.conversion_source import Tally
from detkit.structures.annotations import Annotations, Record
from detkit.structures.bboxes import bbox_corners
from detkit.structures.masks import InstanceMasks
from detkit.structures.polygons import Polygons
from detkit.structures.rotated_bboxes import corners_to_rbboxes, rbbox_corners

__all__ = [
    'count_areas',
    'count_unheld',
    'has_rbboxes',
    'join_rings',
    'object_corners',
    'object_outlines',
    'rings_by_object',
    'to_polygons',
    'with_bitmaps',
]

# Areas that differ by a smaller share are the same but for rounding.
_SAME_AREA = 0.01


def with_bitmaps(record: Record, shape: tuple[int, int], tally: Tally) -> Annotations:
    """Return a record's objects; those of a panoptic image with the bitmaps of its PNG, if that can be read."""
    if record.segments is None or not len(record.annotations):
        return record.annotations
    try:
        return replace(record.annotations, rles=read_segments(record.segments, shape))
    except UnreadableImageError as error:
        tally.add(
            'a PNG of bitmaps that cannot be read: boxes alone are kept', error.path, None, len(record.segments.ids)
        )
        return record.annotations


def has_rbboxes(annotations: Annotations) -> np.ndarray:
    """Return ``(N,)`` bool: the objects that have a rotated box."""
    if annotations.rbboxes is None:
        return np.zeros(len(annotations), bool)
    return (annotations.rbboxes[:, 2:4] > 0).all(1)


def rings_by_object(annotations: Annotations) -> list[list[np.ndarray]]:
    """Return the outlines of each object, ``(P, 2)`` a ring; corners of a rotated box are one, a bitmap has none."""
    rings: list[list[np.ndarray]] = [[] for _ in range(len(annotations))]
    if annotations.polygons is not None:
        for owner, ring in zip(annotations.polygons.ring_owners, annotations.polygons.rings(), strict=True):
            rings[owner].append(ring)
    for i in np.flatnonzero(has_rbboxes(annotations)):
        if not rings[i]:
            rings[i] = [rbbox_corners(annotations.rbboxes[i : i + 1].astype(np.float64))[0]]
    return rings


def object_outlines(annotations: Annotations, path: str, tally: Tally) -> list[list[np.ndarray]]:
    """Return the outlines of each object as ``rings_by_object``, and those round bitmaps, whose holes are filled."""
    rings = rings_by_object(annotations)
    with_holes = np.zeros(len(annotations), bool)
    for i, rle in enumerate(annotations.rles or ()):
        if rle is not None and not rings[i]:
            masks = InstanceMasks.from_bool(mask_utils.decode(rle)[None] > 0)
            rings[i] = masks.to_polygons()[0]
            with_holes[i] = ring_areas(rings[i]).sum() > masks.areas[0]
    tally.add_objects('a hole in a bitmap: it is filled', path, with_holes)
    return rings


def ring_areas(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Return ``(R,)`` float64 area of each ring."""
    return to_polygons([[ring] for ring in rings]).areas(len(rings))


def to_polygons(rings: Sequence[Sequence[np.ndarray]]) -> Polygons:
    """Return the outlines of objects as one ``Polygons``."""
    flat = [ring for own in rings for ring in own]
    return Polygons(
        np.concatenate([np.zeros((0, 2), np.float32), *flat]),
        np.array([len(ring) for ring in flat], np.int64),
        np.repeat(np.arange(len(rings)), np.array([len(own) for own in rings], np.int64)),
    )


def join_rings(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Return one ring ``(P, 2)`` that follows all of these, joined where they are nearest by bridges of no width.

    All run the same way round as the first, so that the area inside is the sum of theirs.
    """
    joined = first = rings[0]
    for ring in rings[1:]:
        if _signed_area(ring) * _signed_area(first) < 0:
            ring = ring[::-1]
        (x, y), (ring_x, ring_y) = joined.T, ring.T
        # (J, P); a sum over an axis of two numbers takes eight times as long: minutes for an image of ragged masks
        distances = (x[:, None] - ring_x) ** 2 + (y[:, None] - ring_y) ** 2
        here, there = np.unravel_index(int(distances.argmin()), distances.shape)
        around = np.roll(ring, -there, axis=0)
        joined = np.concatenate([joined[: here + 1], around, around[:1], joined[here:]])
    return joined


def _signed_area(ring: np.ndarray) -> float:
    x, y = (ring - ring[0]).astype(np.float64).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def object_corners(annotations: Annotations, path: str, tally: Tally) -> np.ndarray:
    """Return ``(N, 4, 2)`` float64 corners: of the rotated box, else of the least rectangle around outline or box."""
    corners = bbox_corners(annotations.bboxes.astype(np.float64))
    rotated = has_rbboxes(annotations)
    if rotated.any():
        corners[rotated] = rbbox_corners(annotations.rbboxes[rotated].astype(np.float64))
    changed = np.zeros(len(annotations), bool)
    for i, own in enumerate(object_outlines(annotations, path, Tally())):  # a rectangle has no holes to count
        if own and not rotated[i]:
            hull = cv2.convexHull(np.concatenate(own).astype(np.float32))[:, 0].astype(np.float64)
            rbbox = corners_to_rbboxes(hull[None]).astype(np.float64)
            if (rbbox[:, 2:4] > 0).all():  # the points of a line have no rectangle
                corners[i] = rbbox_corners(rbbox)[0]
                area = ring_areas(own).sum()
                changed[i] = abs(rbbox[0, 2:4].prod() - area) > _SAME_AREA * area
    tally.add_objects('an outline: the least rectangle around it is kept', path, changed)
    return corners


def count_areas(annotations: Annotations, written: np.ndarray, path: str, tally: Tally) -> None:
    """Count the objects whose stated area is not the one ``(N,)`` that a reader measures, and is lost so."""
    lost = np.abs(annotations.areas - written) > _SAME_AREA * np.maximum(annotations.areas, written)
    tally.add_objects('an area that is stated, and differs from that of what is written', path, lost)


def count_unheld(
    annotations: Annotations, path: str, tally: Tally, outlines: bool = False, keypoints: bool = False
) -> None:
    """Count outlines, or labelled keypoints, of a format that holds none."""
    if outlines:
        own = np.array([bool(rings) for rings in rings_by_object(annotations)], bool) & ~has_rbboxes(annotations)
        if annotations.rles is not None:
            own |= np.array([rle is not None for rle in annotations.rles], bool)
        tally.add_objects('an outline', path, own)
        tally.add_objects('the angle of a rotated box', path, has_rbboxes(annotations))
    if keypoints and annotations.keypoints is not None:
        tally.add_objects('the keypoints of an object', path, (annotations.keypoints[..., 2] > 0).any(1))
