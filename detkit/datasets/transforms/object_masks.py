"""Drawing the masks of objects at the resolution that a head asks for."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from detkit.structures.polygons import Polygons
from detkit.structures.scene import translation_matrix

__all__ = ['Bitmap', 'draw_index_map', 'draw_instance_masks']

# Polygons are handed to OpenCV in fixed point with so many fractional bits.
_SHIFT = 4


class Bitmap:
    """An object's bitmap and its position in a scene.

    Args:
        rle: COCO's, at the size of the tile's image.
        matrix: ``(3, 3)``, pixels of that image -> pixels of the scene.
        clip: the tile's rectangle, in pixels of that image.
    """

    def __init__(self, rle: dict, matrix: np.ndarray, clip: tuple[float, float, float, float]) -> None:
        self.rle = rle
        self.matrix = matrix
        self.clip = clip

    def warped(self, size: tuple[int, int], stride: int) -> np.ndarray:
        """Return ``(h, w)`` bool by nearest neighbour at the points that ``_sample`` takes for the given stride."""
        bitmap = coco_mask.decode(self.rle)
        x0, y0, x1, y1 = (round(value) for value in self.clip)
        cut = np.zeros_like(bitmap)
        cut[y0:y1, x0:x1] = bitmap[y0:y1, x0:x1]
        shift = _sampling_shift(stride)
        matrix = translation_matrix(shift, shift) @ self.matrix @ translation_matrix(0.5, 0.5)
        return cv2.warpPerspective(cut, matrix, size[::-1], flags=cv2.INTER_NEAREST) > 0


def draw_index_map(
    outlines: Polygons, bitmaps: Sequence[Bitmap | None], size: tuple[int, int], stride: int
) -> np.ndarray:
    """Return all objects on one map, smaller ones on top.

    Args:
        outlines: of N objects, in pixels of the image.
        bitmaps: N entries, an object's bitmap where it is known by one; it replaces the outline.
        size: (h, w) of the image.
        stride: pixels of the image to one of the map.

    Returns:
        ``(h / stride, w / stride)`` uint8, or int16 for more than 255 objects: 0 background, i + 1 the i-th object.
    """
    num_objects = len(bitmaps)
    fine = np.zeros(size, np.uint8 if num_objects <= 255 else np.int16)
    rings_of = _fixed_point_rings(outlines, num_objects, stride)
    for i in np.argsort(-outlines.areas(num_objects), kind='stable').tolist():
        if bitmaps[i] is None:
            _fill(fine, rings_of[i], i + 1)
        else:
            fine[bitmaps[i].warped(size, stride)] = i + 1
    return _sample(fine, stride)


def draw_instance_masks(
    outlines: Polygons, bitmaps: Sequence[Bitmap | None], size: tuple[int, int], stride: int
) -> np.ndarray:
    """Return ``(N, h / stride, w / stride)`` bool, a mask an object, overlaps in all of them; arguments as above."""
    num_objects = len(bitmaps)
    masks = np.zeros((num_objects, *_sampled_size(size, stride)), bool)
    rings_of = _fixed_point_rings(outlines, num_objects, stride)
    for i in range(num_objects):
        if bitmaps[i] is None:
            fine = np.zeros(size, np.uint8)
            _fill(fine, rings_of[i], 1)
            masks[i] = _sample(fine, stride)
        else:
            masks[i] = _sample(bitmaps[i].warped(size, stride), stride)
    return masks


def _fill(canvas: np.ndarray, rings: Sequence[np.ndarray], value: int) -> None:
    """Fill the union of fixed-point rings; one call a ring, since one call for all would make overlaps holes."""
    for ring in rings:
        cv2.fillPoly(canvas, [ring], value, cv2.LINE_8, _SHIFT)


def _sampling_shift(stride: int) -> float:
    """Return the shift that puts the centres of the map's cells on those of the pixels read."""
    return stride // 2 - stride / 2


def _sampled_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    return tuple(len(range(stride // 2, side, stride)) for side in size)


def _sample(fine: np.ndarray, stride: int) -> np.ndarray:
    """Return every stride-th pixel, the ones in the middle of the map's cells."""
    return np.ascontiguousarray(fine[stride // 2 :: stride, stride // 2 :: stride])


def _fixed_point_rings(outlines: Polygons, num_objects: int, stride: int) -> list[list[np.ndarray]]:
    points = np.round((outlines.points + _sampling_shift(stride)) * (1 << _SHIFT)).astype(np.int32)
    rings_of: list[list[np.ndarray]] = [[] for _ in range(num_objects)]
    starts = outlines.ring_starts.tolist()
    for owner, start, size in zip(outlines.ring_owners.tolist(), starts, outlines.ring_sizes.tolist(), strict=True):
        rings_of[owner].append(points[start : start + size])
    return rings_of
