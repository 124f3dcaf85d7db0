"""Rotated boxes: (cx, cy, w, h, angle).

The angle is in radians, from the x axis to the side w, clockwise on the screen (y points down); w is the long side; the
angle lies in [-pi/4, 3pi/4). A box of 4 x 2 around (10, 10) whose long side runs from top left to bottom right is
(10, 10, 4, 2, pi/4); the corner (+w/2, +h/2) of its own frame lies at

    (10 + 2 cos(pi/4) - 1 sin(pi/4), 10 + 2 sin(pi/4) + 1 cos(pi/4)) = (10.71, 12.12).
"""

from __future__ import annotations

import numpy as np

from detkit.structures.polygons import move_points

__all__ = ['corners_to_rbboxes', 'move_rbboxes', 'normalize_rbboxes', 'rbbox_corners']


def normalize_rbboxes(rbboxes: np.ndarray) -> np.ndarray:
    """The same rectangles with the long side as w and the angle in [-pi/4, 3pi/4)."""
    cx, cy, w, h, angle = rbboxes.T
    swap = h > w
    angle = np.where(swap, angle + np.pi / 2, angle)
    angle = (angle + np.pi / 4) % np.pi - np.pi / 4
    return np.stack([cx, cy, np.where(swap, h, w), np.where(swap, w, h), angle], 1).astype(rbboxes.dtype)


def rbbox_corners(rbboxes: np.ndarray) -> np.ndarray:
    """``(N, 5)`` -> ``(N, 4, 2)``: (-w, -h), (+w, -h), (+w, +h), (-w, +h) of the box's own frame."""
    cos, sin = np.cos(rbboxes[:, 4]), np.sin(rbboxes[:, 4])
    half_w = np.stack([cos, sin], 1) * rbboxes[:, 2:3] / 2
    half_h = np.stack([-sin, cos], 1) * rbboxes[:, 3:4] / 2
    offsets = [-half_w - half_h, half_w - half_h, half_w + half_h, -half_w + half_h]
    return rbboxes[:, None, :2] + np.stack(offsets, 1)


def corners_to_rbboxes(corners: np.ndarray) -> np.ndarray:
    """``(N, 4, 2)`` corners in order around the box -> ``(N, 5)``.

    For corners that form no exact rectangle: centre and side lengths are means, the angle is that of the longer pair of
    sides.
    """
    along = (corners[:, 1] + corners[:, 2] - corners[:, 0] - corners[:, 3]) / 2
    across = (corners[:, 2] + corners[:, 3] - corners[:, 0] - corners[:, 1]) / 2
    w, h = np.hypot(*along.T), np.hypot(*across.T)
    longer = np.where((w >= h)[:, None], along, across)
    angle = np.arctan2(longer[:, 1], longer[:, 0])
    rbboxes = np.stack([*corners.mean(1).T, np.maximum(w, h), np.minimum(w, h), angle], 1)
    return normalize_rbboxes(rbboxes.astype(np.float32))


def move_rbboxes(rbboxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """``(N, 5)`` through a 3x3 matrix; exact for turns, shifts, mirrors and uniform scales."""
    corners = rbbox_corners(rbboxes.astype(np.float64)).reshape(-1, 2)
    return corners_to_rbboxes(move_points(corners, matrix).reshape(-1, 4, 2))
