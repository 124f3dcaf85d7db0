"""Comparing the boxes of a COCO file with its outlines and bitmaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as mask_utils

__all__ = ['compare_with_hulls', 'hulls_of']

# A box below this IoU with the box around its outline is another one, and one above the second is the same.
_OTHER, _SAME = 0.5, 0.9


def hulls_of(
    count: int,
    ring_owners: np.ndarray,
    ring_sizes: np.ndarray,
    points: np.ndarray,
    rle_owners: np.ndarray,
    rle_sizes: np.ndarray,
    rle_counts: Sequence[bytes],
) -> np.ndarray:
    """Return ``(count, 4)`` float64 xyxy, the boxes around all outlines, or the bitmap, of each annotation.

    Those without either are NaN. The arguments are as in ``Columns``.
    """
    hulls = np.full((count, 4), np.nan)
    if len(ring_sizes):
        starts = np.cumsum(ring_sizes) - ring_sizes
        first = np.flatnonzero(np.diff(ring_owners, prepend=-1))  # owners are in order
        rows = ring_owners[first]
        hulls[rows, :2] = np.minimum.reduceat(points, starts[first], axis=0)
        hulls[rows, 2:] = np.maximum.reduceat(points, starts[first], axis=0)
    if len(rle_counts):
        rles = zip(rle_sizes.tolist(), rle_counts, strict=True)
        boxes = mask_utils.toBbox([{'size': size, 'counts': counts} for size, counts in rles])
        hulls[rle_owners] = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    return hulls


def compare_with_hulls(bboxes_xywh: np.ndarray, hulls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two ``(M,)`` bool: boxes that are far from what is drawn, and those that fit it as x0, y0, x1, y1 alone.

    Args:
        bboxes_xywh: ``(M, 4)``, finite where something is drawn.
        hulls: ``(M, 4)`` xyxy, NaN where nothing is drawn.
    """
    other, corners = np.zeros(len(hulls), bool), np.zeros(len(hulls), bool)
    drawn = np.isfinite(hulls[:, 0])
    bboxes, hulls = bboxes_xywh[drawn], hulls[drawn]
    as_stated = _pairwise_ious(np.concatenate([bboxes[:, :2], bboxes[:, :2] + bboxes[:, 2:]], 1), hulls)
    other[drawn] = as_stated < _OTHER
    corners[drawn] = (as_stated < _SAME) & (_pairwise_ious(bboxes, hulls) > _SAME)
    return other, corners


def _pairwise_ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return ``(M,)``, the IoU of each box ``(M, 4)`` xyxy with the other one of its row, 0 where one has no area."""
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    shared = sides.clip(0).prod(1)
    areas = [(own[:, 2:] - own[:, :2]).clip(0).prod(1) for own in (first, second)]
    return shared / np.maximum(areas[0] + areas[1] - shared, np.finfo(np.float64).tiny)
