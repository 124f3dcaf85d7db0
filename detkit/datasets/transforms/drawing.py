"""Drawing tiles: one resampling each, straight into the canvas."""

from __future__ import annotations

import math

import cv2
import numpy as np

from detkit.structures.polygons import move_points
from detkit.structures.scene import Tile, scale_matrix, translation_matrix

__all__ = ['Placement', 'draw_tile', 'place_tile']

# Rounding a tile to whole source pixels moves what is drawn by up to half of one; enlarged further than this,
# it is drawn at its exact place instead.
_MAX_SNAPPED_SCALE = 2.0
_WHOLE = 1e-6


class Placement:
    """How a tile is drawn.

    Attributes:
        matrix: the tile's matrix, rounded to whole pixels where that is how it is drawn. Objects are moved by it.
        target: (x0, y0, x1, y1), the whole pixels of the canvas that the tile touches.
        source: (x0, y0, x1, y1), the whole pixels of the image that become ``target`` by a plain resize, or None.
    """

    def __init__(
        self, matrix: np.ndarray, target: tuple[int, int, int, int], source: tuple[int, int, int, int] | None = None
    ) -> None:
        self.matrix = matrix
        self.target = target
        self.source = source

    @property
    def empty(self) -> bool:
        return self.target[2] <= self.target[0] or self.target[3] <= self.target[1]


def place_tile(tile: Tile, size: tuple[int, int]) -> Placement:
    """Finds where a tile goes on a canvas of ``size`` (h, w), and whether a plain resize can draw it.

    A tile whose rows and columns stay such is drawn by ``cv2.resize`` from whole pixels to whole pixels. It is the
    faster way, and exactly the reference's where the tile lands on whole pixels by itself (a letterbox). Elsewhere its
    matrix changes by at most a pixel and a half at the tile's edges, by the same amount for two tiles that share one.
    """
    height, width = size
    quad = move_points(_rect_corners(tile.clip), tile.matrix)
    low, high = np.maximum(quad.min(0), 0), np.minimum(quad.max(0), (width, height))
    if not tile.axis_aligned:
        return Placement(tile.matrix, (*_floor(low), *_ceil(high)))
    if (high <= low).any():
        return Placement(tile.matrix, (0, 0, 0, 0))
    target = (*_round(low), *_round(high))
    if target[2] <= target[0] or target[3] <= target[1]:
        return Placement(tile.matrix, (0, 0, 0, 0))
    inverse = np.linalg.inv(tile.matrix)
    ends = move_points(np.array([low, high]), inverse)
    source_low, source_high = ends.min(0), ends.max(0)
    source = (*_round(source_low), *_round(source_high))
    exact = np.abs(np.array([*low, *high]) - target).max() < _WHOLE
    exact = exact and np.abs(np.array([*source_low, *source_high]) - source).max() < _WHOLE
    too_large = np.abs(np.diag(tile.matrix)[:2]).max() > _MAX_SNAPPED_SCALE
    if source[2] <= source[0] or source[3] <= source[1] or (too_large and not exact):
        return Placement(tile.matrix, target)
    return Placement(_rect_to_rect(source, target, np.sign(np.diag(tile.matrix)[:2])), target, source)


def draw_tile(
    canvas: np.ndarray, tile: Tile, placement: Placement, prefilter_above: float, mask: np.ndarray | None = None
) -> None:
    """Draws a tile into ``canvas`` ``(H, W, 3)``, in place.

    Args:
        canvas: drawn into.
        tile: what is drawn.
        placement: of ``place_tile``.
        prefilter_above: shrinking by more than this averages the pixels that fall together, instead of picking some.
        mask: ``(H, W)`` uint8; only where it is not 0 the canvas changes.
    """
    if placement.empty:
        return
    x0, y0, x1, y1 = placement.target
    target = canvas[y0:y1, x0:x1]
    mask = None if mask is None else mask[y0:y1, x0:x1]
    if placement.source is not None:
        drawn = _resized(tile.img, placement, prefilter_above)
    else:
        drawn = _warped(tile, placement, prefilter_above)
        if not tile.axis_aligned:
            inside = _fill_quad(tile, placement)
            mask = inside if mask is None else mask & inside
    if mask is None:
        target[...] = drawn
    else:
        cv2.copyTo(drawn, mask, target)


def _resized(img: np.ndarray, placement: Placement, prefilter_above: float) -> np.ndarray:
    x0, y0, x1, y1 = placement.source
    view = img[y0:y1, x0:x1]
    width, height = placement.target[2] - placement.target[0], placement.target[3] - placement.target[1]
    if view.shape[:2] != (height, width):
        shrinks = max((x1 - x0) / width, (y1 - y0) / height) > prefilter_above
        view = cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    flips = placement.matrix[[0, 1], [0, 1]] < 0
    if flips.any():
        view = cv2.flip(view, -1 if flips.all() else int(flips[0]))
    return view


def _warped(tile: Tile, placement: Placement, prefilter_above: float) -> np.ndarray:
    x0, y0, x1, y1 = placement.target
    img, matrix = _prefiltered(tile.img, placement.matrix, prefilter_above)
    # OpenCV counts from the first pixel's centre, matrices here from its corner.
    matrix = translation_matrix(-x0 - 0.5, -y0 - 0.5) @ matrix @ translation_matrix(0.5, 0.5)
    size_wh = (x1 - x0, y1 - y0)
    if matrix[2, 0] or matrix[2, 1]:
        return cv2.warpPerspective(img, matrix, size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.warpAffine(img, matrix[:2], size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _prefiltered(img: np.ndarray, matrix: np.ndarray, prefilter_above: float) -> tuple[np.ndarray, np.ndarray]:
    """The image averaged over whole blocks of pixels, so that what is left to shrink is less than 2."""
    shrinks = 1 / np.maximum(np.hypot(matrix[0, :2], matrix[1, :2]), 1e-6)
    if shrinks.max() <= prefilter_above:
        return img, matrix
    height, width = img.shape[:2]
    blocks = np.maximum(np.floor(shrinks), 1)
    new_width, new_height = (max(round(side / block), 1) for side, block in zip((width, height), blocks, strict=True))
    img = cv2.resize(img, (new_width, new_height), interpolation=cv2.INTER_AREA)
    return img, matrix @ scale_matrix(width / new_width, height / new_height)


def _fill_quad(tile: Tile, placement: Placement) -> np.ndarray:
    """``(h, w)`` uint8 over the target: 255 where the clip rectangle comes to lie."""
    x0, y0, x1, y1 = placement.target
    quad = move_points(_rect_corners(tile.clip), placement.matrix) - (x0 + 0.5, y0 + 0.5)
    inside = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillConvexPoly(inside, np.round(quad * 256).astype(np.int32), 255, cv2.LINE_8, 8)
    return inside


def _rect_corners(rect: tuple[float, float, float, float]) -> np.ndarray:
    x0, y0, x1, y1 = rect
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def _rect_to_rect(source: tuple[int, ...], target: tuple[int, ...], signs: np.ndarray) -> np.ndarray:
    """The matrix of the plain resize from one rectangle to another, mirrored where a sign is negative."""
    source_low, target_low = np.array(source[:2]), np.array(target[:2])
    ratio = (np.array(target[2:]) - target_low) / (np.array(source[2:]) - source_low) * signs
    start = np.where(signs < 0, target[2:], target_low)
    return translation_matrix(*start) @ scale_matrix(*ratio) @ translation_matrix(*-source_low)


def _round(values: np.ndarray) -> list[int]:
    return [math.floor(value + 0.5) for value in values]


def _floor(values: np.ndarray) -> list[int]:
    return [math.floor(value) for value in values]


def _ceil(values: np.ndarray) -> list[int]:
    return [math.ceil(value) for value in values]
