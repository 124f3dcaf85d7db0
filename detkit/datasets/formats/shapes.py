"""Objects as annotation files draw them: ``Shape``, how its values are read, and what ``Annotations`` need of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from detkit.structures.bboxes import bbox_corners
from detkit.structures.polygons import Polygons
from detkit.structures.rotated_bboxes import corners_to_rbboxes
from detkit.utils.limits import MAX_PIXELS, PIXELS_VARIABLE
from detkit.utils.numbers import parse_float

__all__ = [
    'EntryError',
    'Shape',
    'check_canvas',
    'crop_to_rle',
    'draw',
    'ellipse_ring',
    'join_shapes',
    'number',
    'points_of',
    'rbboxes_of',
    'rings_left',
    'rings_to_rle',
    'turn',
]

# Coordinates beyond it, in pixels, are no image's.
_FARTHEST = 1e7
_ELLIPSE_POINTS = 64


class EntryError(Exception):
    """An entry of an annotation file that is left out.

    Args:
        reason: why, with the values that were found.
        kind: the reason without values, '' where it has none.
        broken: it breaks a rule, where others are only of no use here.
    """

    def __init__(self, reason: str, kind: str = '', broken: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.kind, self.broken = reason, kind, broken


@dataclass
class Shape:
    """An object as its annotation file draws it, in pixels of the upright image.

    Attributes:
        name: its class.
        where: the entry in the file.
        bbox: xyxy, in any order of the corners; None where the outline, the bitmap or the keypoints give it.
        rings: its outlines, ``(K, 2)`` float64 each.
        rle: its bitmap as a COCO RLE of the image's size, or None.
        keypoints: (x, y, visibility) by name.
        ignored: it is never trained on.
    """

    name: str
    where: str
    bbox: Sequence[float] | None = None
    rings: list[np.ndarray] = field(default_factory=list)
    rle: dict | None = None
    keypoints: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    ignored: bool = False

    def hull(self) -> np.ndarray:
        """Return ``(4,)`` float64 xyxy, the box around all that is drawn."""
        if self.bbox is not None:
            points = np.asarray(self.bbox, np.float64).reshape(2, 2)
        elif self.rings:
            points = np.concatenate(self.rings)
        elif self.rle is not None:
            x, y, w, h = coco_mask.toBbox(self.rle)
            points = np.array([[x, y], [x + w, y + h]])
        else:
            labelled = [point[:2] for point in self.keypoints.values() if point[2] > 0]
            points = np.array(labelled or [[0, 0]], np.float64)
        return np.concatenate([points.min(0), points.max(0)])


def number(value: Any) -> float:
    """Return a coordinate as a float.

    Raises:
        EntryError: it is no number, not finite, or beyond any image.
    """
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        found = parse_float(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        found = math.nan
    if not abs(found) <= _FARTHEST:
        text = repr(value)
        shown = text if len(text) <= 40 else text[:37] + '...'
        raise EntryError(f'the coordinate {shown} is no number of an image', 'a coordinate that is no number')
    return found


def points_of(values: Any, least: int = 3) -> np.ndarray:
    """Return ``(K, 2)`` float64 of a list of pairs.

    Raises:
        EntryError: it is no such list, or has fewer than ``least`` points.
    """
    if not isinstance(values, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in values):
        raise EntryError('points that are no list of (x, y)')
    if len(values) < least:
        raise EntryError(f'{len(values)} points, where {least} are needed', 'too few points')
    return np.array([[number(x), number(y)] for x, y in values], np.float64).reshape(-1, 2)


def ellipse_ring(cx: float, cy: float, rx: float, ry: float, degrees: float = 0.0) -> np.ndarray:
    """Return ``(64, 2)`` points on an ellipse that is turned clockwise on the screen."""
    turns = np.arange(_ELLIPSE_POINTS) * (2 * np.pi / _ELLIPSE_POINTS)
    return turn(np.stack([cx + abs(rx) * np.cos(turns), cy + abs(ry) * np.sin(turns)], 1), (cx, cy), degrees)


def turn(points: np.ndarray, centre: tuple[float, float], degrees: float) -> np.ndarray:
    """Return ``(K, 2)`` points turned clockwise on the screen around ``centre``."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (points - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre


def check_canvas(shape: tuple[int, int]) -> None:
    """Check that a bitmap of (h, w) may be drawn.

    Raises:
        EntryError: it has more pixels than ``MAX_PIXELS``.
    """
    if shape[0] * shape[1] > MAX_PIXELS:
        reason = f'a bitmap of {shape[1]}x{shape[0]} pixels, more than {MAX_PIXELS:,} ({PIXELS_VARIABLE} raises this)'
        raise EntryError(reason, 'a bitmap of too many pixels')


def rings_to_rle(rings: Sequence[np.ndarray], shape: tuple[int, int]) -> dict:
    """Return the COCO RLE of the size ``shape`` (h, w) of the pixels inside any of the outlines.

    Raises:
        EntryError: see ``check_canvas``.
    """
    check_canvas(shape)
    inside = _clip_rings(rings, [0] * len(rings), shape).rings()
    flat = [ring.astype(np.float64).ravel().tolist() for ring in inside]
    empty = np.zeros(shape, np.uint8, order='F')
    return coco_mask.merge(coco_mask.frPyObjects(flat, *shape)) if flat else coco_mask.encode(empty)


def join_shapes(first: Shape, part: Shape, size: tuple[int, int]) -> None:
    """Add another part to the object ``first`` on an image of (h, w); a box counts as the outline of four corners.

    Raises:
        EntryError: see ``check_canvas``.
    """
    if first.rle is None and part.rle is None:
        rings = _outlines(first) + _outlines(part)
        first.rings, first.bbox = rings, None
    else:
        rles = [drawn.rle or rings_to_rle(_outlines(drawn), size) for drawn in (first, part)]
        first.rle, first.rings, first.bbox = coco_mask.merge(rles), [], None
    first.ignored |= part.ignored


def _outlines(drawn: Shape) -> list[np.ndarray]:
    if drawn.bbox is None:
        return drawn.rings
    x0, y0, x1, y1 = drawn.bbox
    return [np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)]


def crop_to_rle(crop: np.ndarray, left: int, top: int, shape: tuple[int, int]) -> dict:
    """Return the COCO RLE of the size ``shape`` (h, w) of a bitmap whose first pixel lies at (left, top).

    Raises:
        EntryError: no pixel of it lies inside the image; or see ``check_canvas``.
    """
    check_canvas(shape)
    height, width = shape
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + crop.shape[1], width), min(top + crop.shape[0], height)
    inside = crop[y0 - top : y1 - top, x0 - left : x1 - left] if x1 > x0 and y1 > y0 else np.zeros((0, 0), bool)
    if not inside.any():
        raise EntryError('a bitmap without a pixel inside the image')
    mask = np.zeros(shape, np.uint8, order='F')
    mask[y0:y1, x0:x1] = inside
    return coco_mask.encode(mask)


def draw(shapes: Sequence[Shape], bboxes: np.ndarray, shape: tuple[int, int]) -> dict[str, Any]:
    """Return ``areas``, ``polygons`` and ``rles`` of the ``Annotations`` of an image.

    Args:
        shapes: N objects.
        bboxes: ``(N, 4)`` their boxes, inside the image.
        shape: (h, w) of the image; outlines are cut off at its border.
    """
    rings = [(i, ring) for i, drawn in enumerate(shapes) if drawn.rle is None for ring in drawn.rings]
    polygons = _clip_rings([ring for _, ring in rings], [i for i, _ in rings], shape)
    rles = [drawn.rle for drawn in shapes]
    areas = np.where(np.isin(np.arange(len(shapes)), polygons.ring_owners), polygons.areas(len(shapes)), np.nan)
    for i, rle in enumerate(rles):
        if rle is not None:
            areas[i] = coco_mask.area(rle)
    areas = np.where(np.isnan(areas), (bboxes[:, 2:] - bboxes[:, :2]).prod(1), areas)
    return dict(
        areas=areas.astype(np.float32),
        polygons=polygons if len(polygons.ring_sizes) else None,
        rles=rles if any(rle is not None for rle in rles) else None,
    )


def rings_left(shapes: Sequence[Shape], shape: tuple[int, int]) -> np.ndarray:
    """Return ``(N,)`` int64: how many outlines of each object have a part inside an image of (h, w)."""
    rings = [(i, ring) for i, drawn in enumerate(shapes) for ring in drawn.rings]
    owners = np.array([owner for owner, _ in rings], np.int64)
    points = np.concatenate([*(ring for _, ring in rings), np.zeros((0, 2))]).astype(np.float32)
    polygons = Polygons(points, np.array([len(ring) for _, ring in rings], np.int64), owners)
    return np.bincount(owners[polygons.seen_in((0, 0, shape[1], shape[0]))], minlength=len(shapes))


def rbboxes_of(shapes: Sequence[Shape], bboxes: np.ndarray) -> np.ndarray:
    """Return ``(N, 5)`` float32, the rectangle of least area around each outline or bitmap, else its box ``(N, 4)``."""
    rbboxes = [_rbbox(drawn, own) for drawn, own in zip(shapes, bboxes, strict=True)]
    return np.array(rbboxes, np.float32).reshape(-1, 5)


def _clip_rings(rings: Sequence[np.ndarray], owners: Sequence[int], shape: tuple[int, int]) -> Polygons:
    polygons = Polygons(
        np.concatenate([*rings, np.zeros((0, 2))]).astype(np.float32),
        np.array([len(ring) for ring in rings], np.int64),
        np.array(owners, np.int64),
    ).clip((0, 0, shape[1], shape[0]))
    count = len(polygons.ring_sizes)
    hulls = Polygons(polygons.points, polygons.ring_sizes, np.arange(count)).bboxes(count)
    flat = (polygons.ring_sizes < 3) | ~(hulls[:, 2:] > hulls[:, :2]).all(1)
    points = polygons.points[np.repeat(~flat, polygons.ring_sizes)]
    return Polygons(points, polygons.ring_sizes[~flat], polygons.ring_owners[~flat])


def _rbbox(drawn: Shape, bbox: np.ndarray) -> np.ndarray:
    """Return ``(5,)``, the rectangle of least area around an object's outline or bitmap, else its box."""
    if not drawn.rings and drawn.rle is None:
        return corners_to_rbboxes(bbox_corners(bbox[None]))[0]
    points = np.concatenate(drawn.rings) if drawn.rings else _ends_of_rows(coco_mask.decode(drawn.rle))
    if len(points) > 4:  # of many points the hull's are enough
        points = cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)
    return corners_to_rbboxes(points[None])[0]


def _ends_of_rows(mask: np.ndarray) -> np.ndarray:
    """Return ``(4 R, 2)`` float64, the outer corners of the first and last pixel of each row of a bitmap ``(h, w)``."""
    rows = np.flatnonzero(mask.any(1))
    left, right = mask[rows].argmax(1), mask.shape[1] - mask[rows, ::-1].argmax(1)
    return np.concatenate([np.stack([x, y], 1) for x in (left, right) for y in (rows, rows + 1)]).astype(np.float64)
