"""Arithmetic on axis-aligned boxes, (x0, y0) inclusive to (x1, y1) exclusive, in numpy."""

from __future__ import annotations

import numpy as np


def bbox_areas(bboxes: np.ndarray) -> np.ndarray:
    """Return ``(N, 4)`` -> ``(N,)``, 0 for a box turned inside out."""
    wh = np.maximum(bboxes[:, 2:] - bboxes[:, :2], 0)
    return wh[:, 0] * wh[:, 1]


def clip_bboxes(bboxes: np.ndarray, rect: tuple[float, float, float, float] | np.ndarray) -> np.ndarray:
    """Return the part of each box inside ``rect`` (xyxy); a box outside becomes empty, on the rectangle's border."""
    x0, y0, x1, y1 = rect
    return np.clip(bboxes, [x0, y0, x0, y0], [x1, y1, x1, y1]).astype(bboxes.dtype, copy=False)


def bbox_corners(bboxes: np.ndarray) -> np.ndarray:
    """Return ``(N, 4)`` -> ``(N, 4, 2)``: top left, top right, bottom right, bottom left."""
    return bboxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)


def bbox_overlap_ratios(bboxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the share of each of ``others`` that each of ``bboxes`` covers.

    Returns:
        ``(N, M)`` intersection ÷ area of the second box, 0 where that box is empty.
    """
    overlaps, areas = _intersections(bboxes, others), bbox_areas(others)[None]
    return np.divide(overlaps, areas, out=np.zeros_like(overlaps), where=areas > 0)


def pairwise_iou(bboxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return ``(N, 4)``, ``(M, 4)`` -> ``(N, M)`` intersection ÷ union, 0 where both boxes are empty."""
    overlaps = _intersections(bboxes, others)
    unions = bbox_areas(bboxes)[:, None] + bbox_areas(others)[None] - overlaps
    return np.divide(overlaps, unions, out=np.zeros_like(overlaps), where=unions > 0)


def _intersections(bboxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the areas ``(N, M)`` of all intersections."""
    low = np.maximum(bboxes[:, None, :2], others[None, :, :2])
    high = np.minimum(bboxes[:, None, 2:], others[None, :, 2:])
    return np.maximum(high - low, 0).prod(2)  # (N, M, 2) -> (N, M)


def xyxy_to_cxcywh(bboxes: np.ndarray) -> np.ndarray:
    """Convert ``(..., 4)`` corners to centre, width and height."""
    return np.concatenate([(bboxes[..., :2] + bboxes[..., 2:]) / 2, bboxes[..., 2:] - bboxes[..., :2]], -1)


def cxcywh_to_xyxy(bboxes_cxcywh: np.ndarray) -> np.ndarray:
    """Convert ``(..., 4)`` centre, width and height to corners."""
    half = bboxes_cxcywh[..., 2:] / 2
    return np.concatenate([bboxes_cxcywh[..., :2] - half, bboxes_cxcywh[..., :2] + half], -1)
