"""Rotated boxes: (cx, cy, w, h, angle), in numpy. ``rotated_tensors`` has what networks need of them, in torch.

The angle is in radians, from the x axis to the side w, clockwise on the screen (y points down); w is the long side; the
angle lies in [-pi/4, 3pi/4). A box of 4 x 2 around (10, 10) whose long side runs from top left to bottom right is
(10, 10, 4, 2, pi/4); the corner (+w/2, +h/2) of its own frame lies at

    (10 + 2 cos(pi/4) - 1 sin(pi/4), 10 + 2 sin(pi/4) + 1 cos(pi/4)) = (10.71, 12.12).

A square may be written with either of two angles, a quarter turn apart; both are valid.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from detkit.structures.polygons import Polygons, move_points

# Rectangles whose areas differ by less than this share are taken to be equal, so that rounding does not choose.
_SAME_AREA = 1e-6


def normalize_rbboxes(rbboxes: np.ndarray) -> np.ndarray:
    """Return the same rectangles ``(N, 5)`` with the long side as w and the angle in [-pi/4, 3pi/4)."""
    cx, cy, w, h, angle = rbboxes.T
    swap = h > w
    angle = np.where(swap, angle + np.pi / 2, angle)
    angle = (angle + np.pi / 4) % np.pi - np.pi / 4
    normal = np.stack([cx, cy, np.where(swap, h, w), np.where(swap, w, h), angle], 1).astype(rbboxes.dtype)
    # Rounding to the array's own type may reach the open end of the range.
    end = normal[:, 4] >= rbboxes.dtype.type(3 * np.pi / 4)
    normal[end, 4] = -np.pi / 4
    return normal


def rbbox_corners(rbboxes: np.ndarray) -> np.ndarray:
    """Return ``(N, 5)`` -> ``(N, 4, 2)``: (-w, -h), (+w, -h), (+w, +h), (-w, +h) of the box's own frame."""
    cos, sin = np.cos(rbboxes[:, 4]), np.sin(rbboxes[:, 4])
    half_w = np.stack([cos, sin], 1) * rbboxes[:, 2:3] / 2
    half_h = np.stack([-sin, cos], 1) * rbboxes[:, 3:4] / 2
    offsets = [-half_w - half_h, half_w - half_h, half_w + half_h, -half_w + half_h]
    return rbboxes[:, None, :2] + np.stack(offsets, 1)


def rbbox_hulls(rbboxes: np.ndarray) -> np.ndarray:
    """Return ``(N, 5)`` -> ``(N, 4)`` xyxy, the upright boxes around them."""
    corners = rbbox_corners(rbboxes)
    return np.concatenate([corners.min(1), corners.max(1)], 1)


def corners_to_rbboxes(corners: np.ndarray) -> np.ndarray:
    """Return ``(N, P, 2)`` points -> ``(N, 5)`` float32, the rectangles of least area around them.

    Four corners of a rectangle, in any order, give that rectangle. One of its sides lies along a side of the points'
    convex hull (Freeman and Shapira, 1975), so that only the directions of pairs of points are tried. Among rectangles
    of equal area, as two adjacent sides of a quadrilateral often give, the one along the longer side is taken.
    """
    points = corners.astype(np.float64)
    origin = points.mean(1, keepdims=True)
    points = points - origin
    pairs = np.array(list(combinations(range(points.shape[1]), 2)), np.int64).reshape(-1, 2)
    along = points[:, pairs[:, 1]] - points[:, pairs[:, 0]]  # (N, D, 2)
    lengths = np.hypot(along[..., 0], along[..., 1])[..., None]
    along = np.divide(along, lengths, out=np.broadcast_to([1.0, 0.0], along.shape).copy(), where=lengths > 0)
    across = np.stack([-along[..., 1], along[..., 0]], -1)
    turned = np.stack([along, across], 2) @ points.transpose(0, 2, 1)[:, None]  # (N, D, 2, P)
    low, high = turned.min(-1), turned.max(-1)  # (N, D, 2)
    areas = (high - low).prod(-1)
    least = areas <= areas.min(1, keepdims=True) * (1 + _SAME_AREA)
    best = np.where(least, lengths[..., 0], -1).argmax(1)
    rows = np.arange(len(points))
    along, across, low, high = along[rows, best], across[rows, best], low[rows, best], high[rows, best]
    middle = (low + high) / 2
    centres = origin[:, 0] + middle[:, :1] * along + middle[:, 1:] * across
    angles = np.arctan2(along[:, 1], along[:, 0])
    return normalize_rbboxes(np.concatenate([centres, high - low, angles[:, None]], 1)).astype(np.float32)


def enclosing_rbboxes(outlines: Polygons, angles: np.ndarray) -> np.ndarray:
    """Return ``(N, 5)`` float32: the least rectangle of a direction around each object's ring, zeros where it has none.

    Args:
        outlines: at most one ring an object.
        angles: ``(N,)``, of one of the sides of each object's rectangle.
    """
    rbboxes = np.zeros((len(angles), 5), np.float32)
    rings = np.flatnonzero(outlines.ring_sizes)
    if not len(rings):
        return rbboxes
    owners, starts = outlines.ring_owners[rings], outlines.ring_starts[rings]
    cos, sin = np.cos(angles[owners]), np.sin(angles[owners])
    sizes = outlines.ring_sizes[rings]
    x, y = outlines.points.astype(np.float64).T
    cos_of, sin_of = np.repeat(cos, sizes), np.repeat(sin, sizes)
    sides = [
        (np.minimum.reduceat(d, starts), np.maximum.reduceat(d, starts))
        for d in (x * cos_of + y * sin_of, y * cos_of - x * sin_of)
    ]
    (left, right), (top, bottom) = sides
    u, v = (left + right) / 2, (top + bottom) / 2
    found = [u * cos - v * sin, u * sin + v * cos, right - left, bottom - top, angles[owners]]
    rbboxes[owners] = normalize_rbboxes(np.stack(found, 1))
    return rbboxes


def move_rbboxes(rbboxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Move ``(N, 5)`` by a 3x3 matrix: the rectangles of least area around the moved corners.

    Exact for turns, shifts, mirrors and uniform scales.
    """
    corners = rbbox_corners(rbboxes.astype(np.float64)).reshape(-1, 2)
    return corners_to_rbboxes(move_points(corners, matrix).reshape(-1, 4, 2))


def rbboxes_to_xywhr(rbboxes: np.ndarray) -> np.ndarray:
    """Return ``(N, 5)`` -> ``(N, 5)`` as ultralytics reports predictions: any side as w, the angle in [0, pi/2)."""
    cx, cy, w, h, angle = rbboxes.T
    quarters = np.floor(angle / (np.pi / 2))
    odd = quarters % 2 == 1
    angle = np.clip(angle - quarters * (np.pi / 2), 0, None)
    return np.stack([cx, cy, np.where(odd, h, w), np.where(odd, w, h), angle], 1).astype(rbboxes.dtype)


def xywhr_to_rbboxes(xywhr: np.ndarray) -> np.ndarray:
    """Convert ``(N, 5)`` centre, width, height and clockwise angle in radians, of any range, to rotated boxes."""
    return normalize_rbboxes(np.asarray(xywhr))
