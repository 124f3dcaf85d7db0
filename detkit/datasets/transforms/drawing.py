"""Drawing tiles: one resampling each, straight into the canvas."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from detkit.structures.polygons import move_points
from detkit.structures.scene import Tile, scale_matrix, translation_matrix

__all__ = ['Placement', 'Resampling', 'draw_tile', 'fill_quad', 'place_tile']

# Rounding a tile to whole source pixels moves the drawing by up to half of one; enlarged further than this,
# it is drawn at its exact position instead.
_MAX_SNAPPED_SCALE = 2.0
_WHOLE = 1e-6


@dataclass(frozen=True)
class Resampling:
    """The way in which pixels are computed from those of an image.

    Attributes:
        prefilter_above: shrinking by more than this averages the pixels that fall together, instead of picking some.
        antialias: a tile without ``Placement.source`` whose rows stay rows is resampled by Pillow.
        align_corners: where a tile is drawn by a plain resize, the centres of its corner pixels stay in the corners.
    """

    prefilter_above: float = math.inf
    antialias: bool = False
    align_corners: bool = False


@dataclass(frozen=True)
class Placement:
    """The position of a tile on the canvas and the way to draw it.

    Attributes:
        matrix: the tile's matrix, rounded to whole pixels where that is how it is drawn. Objects are moved by it.
        target: (x0, y0, x1, y1), the whole pixels of the canvas that the tile touches.
        source: (x0, y0, x1, y1), the whole pixels of the image that become ``target`` by a plain resize, or None.
    """

    matrix: np.ndarray
    target: tuple[int, int, int, int]
    source: tuple[int, int, int, int] | None = None

    @property
    def empty(self) -> bool:
        return _is_empty(self.target)


def place_tile(tile: Tile, size: tuple[int, int], exact: bool = False) -> Placement:
    """Find where a tile goes on a canvas of ``size`` (h, w), and whether a plain resize can draw it.

    A tile whose rows and columns stay such is drawn by ``cv2.resize`` from whole pixels to whole pixels. It is the
    faster way, and exactly the reference's where the tile lands on whole pixels by itself (a letterbox). Elsewhere its
    matrix changes by at most a pixel and a half at the tile's edges, by the same amount for two tiles that share one.

    Args:
        exact: leave every matrix as it is; nothing is drawn by a plain resize then.
    """
    height, width = size
    if not tile.axis_aligned:
        quad = move_points(_rect_corners(tile.clip), tile.matrix)
        low, high = np.maximum(quad.min(0), 0).tolist(), np.minimum(quad.max(0), (width, height)).tolist()
        return Placement(tile.matrix, (*map(math.floor, low), *map(math.ceil, high)))
    (scale_x, _, shift_x), (_, scale_y, shift_y), _ = tile.matrix.tolist()
    axes = [
        _place_axis(tile.clip[0], tile.clip[2], scale_x, shift_x, width),
        _place_axis(tile.clip[1], tile.clip[3], scale_y, shift_y, height),
    ]
    (target_x, source_x, exact_x), (target_y, source_y, exact_y) = axes
    target, source = (target_x[0], target_y[0], target_x[1], target_y[1]), None
    if not exact and (max(abs(scale_x), abs(scale_y)) <= _MAX_SNAPPED_SCALE or (exact_x and exact_y)):
        source = (source_x[0], source_y[0], source_x[1], source_y[1])
    if source is None or _is_empty(source) or _is_empty(target):
        return Placement(tile.matrix, target)
    (new_scale_x, new_shift_x), (new_scale_y, new_shift_y) = (
        _segment_to_segment(source_axis, target_axis, scale < 0)
        for source_axis, target_axis, scale in ((source_x, target_x, scale_x), (source_y, target_y, scale_y))
    )
    matrix = np.array([[new_scale_x, 0, new_shift_x], [0, new_scale_y, new_shift_y], [0, 0, 1]], np.float64)
    return Placement(matrix, target, source)


def _place_axis(
    low: float, high: float, scale: float, shift: float, side: int
) -> tuple[tuple[int, int], tuple[int, int], bool]:
    """Return the visible whole pixels along one axis, on the canvas and in the image, and whether that is exact."""
    first, last = sorted((low * scale + shift, high * scale + shift))
    first, last = max(first, 0.0), max(min(last, float(side)), 0.0)
    ends = sorted(((first - shift) / scale, (last - shift) / scale))
    target, source = (_round(first), _round(last)), (_round(ends[0]), _round(ends[1]))
    exact = all(
        abs(value - whole) < _WHOLE for value, whole in zip((first, last, *ends), (*target, *source), strict=True)
    )
    return target, source, exact


def _segment_to_segment(source: tuple[int, int], target: tuple[int, int], mirrored: bool) -> tuple[float, float]:
    """Return scale and shift of the plain resize along one axis."""
    scale = (target[1] - target[0]) / (source[1] - source[0])
    return (-scale, target[1] + scale * source[0]) if mirrored else (scale, target[0] - scale * source[0])


def _is_empty(rect: tuple[int, int, int, int]) -> bool:
    return rect[2] <= rect[0] or rect[3] <= rect[1]


def draw_tile(
    canvas: np.ndarray,
    tile: Tile,
    placement: Placement,
    resampling: Resampling,
    mask: np.ndarray | None = None,
) -> None:
    """Draw a tile into ``canvas`` ``(H, W, 3)``, in place.

    Args:
        canvas: drawn into.
        tile: the tile to draw.
        placement: as ``place_tile`` returned it.
        resampling: how it is resampled.
        mask: ``(H, W)`` uint8; only where it is not 0 the canvas changes.
    """
    if placement.empty:
        return
    x0, y0, x1, y1 = placement.target
    target = canvas[y0:y1, x0:x1]
    mask = None if mask is None else mask[y0:y1, x0:x1]
    if placement.source is not None:
        drawn = _resized(tile.img, placement, resampling)
    elif resampling.antialias and tile.axis_aligned:
        drawn = _antialiased(tile.img, placement)
    else:
        drawn = _warped(tile, placement, resampling.prefilter_above)
        if not tile.axis_aligned:
            inside = fill_quad(tile, placement)
            mask = inside if mask is None else mask & inside
    if mask is None:
        target[...] = drawn
    else:
        cv2.copyTo(drawn, mask, target)


def _resized(img: np.ndarray, placement: Placement, resampling: Resampling) -> np.ndarray:
    x0, y0, x1, y1 = placement.source
    view = img[y0:y1, x0:x1]
    width, height = placement.target[2] - placement.target[0], placement.target[3] - placement.target[1]
    if view.shape[:2] != (height, width):
        shrinks = max((x1 - x0) / width, (y1 - y0) / height) > resampling.prefilter_above
        if resampling.align_corners and not shrinks:
            scales = (width - 1) / max(x1 - x0 - 1, 1), (height - 1) / max(y1 - y0 - 1, 1)
            matrix = scale_matrix(*scales)[:2]  # from centre to centre, as OpenCV counts
            view = cv2.warpAffine(
                view, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        else:
            view = cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    mirrored_x, mirrored_y = placement.matrix[0, 0] < 0, placement.matrix[1, 1] < 0
    if mirrored_x or mirrored_y:
        view = cv2.flip(view, -1 if mirrored_x and mirrored_y else int(mirrored_x))
    return view


def _antialiased(img: np.ndarray, placement: Placement) -> np.ndarray:
    """Resample with a triangle as wide as the pixels of the result, at its exact position."""
    (scale_x, _, shift_x), (_, scale_y, shift_y), _ = placement.matrix.tolist()
    x0, y0, x1, y1 = placement.target
    left, right = sorted(min(max((x - shift_x) / scale_x, 0.0), float(img.shape[1])) for x in (x0, x1))
    top, bottom = sorted(min(max((y - shift_y) / scale_y, 0.0), float(img.shape[0])) for y in (y0, y1))
    image = Image.fromarray(img).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR, (left, top, right, bottom))
    return np.asarray(image)[:: -1 if scale_y < 0 else 1, :: -1 if scale_x < 0 else 1]


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
    """Return the image averaged over whole blocks of pixels, so that what is left to shrink is less than 2."""
    shrinks = 1 / np.maximum(np.hypot(matrix[0, :2], matrix[1, :2]), 1e-6)
    if shrinks.max() <= prefilter_above:
        return img, matrix
    height, width = img.shape[:2]
    blocks = np.maximum(np.floor(shrinks), 1)
    new_width, new_height = (max(round(side / block), 1) for side, block in zip((width, height), blocks, strict=True))
    img = cv2.resize(img, (new_width, new_height), interpolation=cv2.INTER_AREA)
    return img, matrix @ scale_matrix(width / new_width, height / new_height)


def fill_quad(tile: Tile, placement: Placement) -> np.ndarray:
    """Return ``(h, w)`` uint8 over the target: 255 where the clip rectangle comes to lie."""
    x0, y0, x1, y1 = placement.target
    quad = move_points(_rect_corners(tile.clip), placement.matrix) - (x0 + 0.5, y0 + 0.5)
    inside = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillConvexPoly(inside, np.round(quad * 256).astype(np.int32), 255, cv2.LINE_8, 8)
    return inside


def _rect_corners(rect: tuple[float, float, float, float]) -> np.ndarray:
    x0, y0, x1, y1 = rect
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def _round(value: float) -> int:
    return math.floor(value + 0.5)
