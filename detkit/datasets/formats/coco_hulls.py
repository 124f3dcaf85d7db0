"""Comparing the boxes of a COCO file with its outlines and bitmaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as mask_utils

from detkit.datasets.formats.coco_columns import Columns

__all__ = ['compare_with_hulls', 'read_hulls']

# A box below this IoU with the box around its outline is another one, and one above the second is the same.
_OTHER, _SAME = 0.5, 0.9


def read_hulls(parts: Sequence[Columns]) -> np.ndarray:
    """Return ``(M, 4)`` float64 xyxy, the boxes around all outlines, or the bitmap, of each annotation; NaN without."""
    hulls = []
    for part in parts:
        own = np.full((len(part), 4), np.nan)
        if len(part.ring_sizes):
            starts = np.cumsum(part.ring_sizes) - part.ring_sizes
            first = np.flatnonzero(np.diff(part.ring_owners, prepend=-1))  # owners are in order
            rows = part.ring_owners[first]
            own[rows, :2] = np.minimum.reduceat(part.points, starts[first], axis=0)
            own[rows, 2:] = np.maximum.reduceat(part.points, starts[first], axis=0)
        if len(part.rle_counts):
            rles = zip(part.rle_sizes.tolist(), part.rle_counts, strict=True)
            boxes = mask_utils.toBbox([{'size': size, 'counts': counts} for size, counts in rles])
            own[part.rle_owners] = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
        hulls.append(own)
    return np.concatenate(hulls)


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
