"""Rotated boxes ``(..., 5)`` as tensors: their corners, their upright hulls, and what linear maps make of them."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor


def normalize_rbboxes(rbboxes: Tensor) -> Tensor:
    """Return the same rectangles with the long side as w and the angle in [-pi/4, 3pi/4)."""
    centres, w, h, angle = rbboxes[..., :2], rbboxes[..., 2], rbboxes[..., 3], rbboxes[..., 4]
    swap = h > w
    angle = torch.where(swap, angle + pi / 2, angle)
    angle = (angle + pi / 4).remainder(pi) - pi / 4
    # Rounding may reach the open end of the range.
    angle = torch.where(angle >= 3 * pi / 4, torch.full_like(angle, -pi / 4), angle)
    sides = torch.stack([torch.where(swap, h, w), torch.where(swap, w, h), angle], -1)
    return torch.cat([centres, sides], -1)


def rbbox_corners(rbboxes: Tensor) -> Tensor:
    """Return ``(..., 5)`` -> ``(..., 4, 2)``: (-w, -h), (+w, -h), (+w, +h), (-w, +h) of the box's own frame."""
    cos, sin = rbboxes[..., 4].cos(), rbboxes[..., 4].sin()
    half_w = torch.stack([cos, sin], -1) * rbboxes[..., 2:3] / 2
    half_h = torch.stack([-sin, cos], -1) * rbboxes[..., 3:4] / 2
    offsets = [-half_w - half_h, half_w - half_h, half_w + half_h, half_h - half_w]
    return rbboxes[..., None, :2] + torch.stack(offsets, -2)


def rbbox_hulls(rbboxes: Tensor) -> Tensor:
    """Return ``(..., 5)`` -> ``(..., 4)`` xyxy, the upright boxes around them."""
    corners = rbbox_corners(rbboxes)
    return torch.cat([corners.amin(-2), corners.amax(-2)], -1)


def map_rbboxes(rbboxes: Tensor, matrix: Tensor) -> Tensor:
    """Move ``(..., 5)`` by an affine 3x3 matrix: centre and sides are moved, the sides taken to be at right angles.

    Exact for turns, shifts, mirrors and uniform scales; near for what rounding makes of a uniform scale.
    """
    linear, shift = matrix[:2, :2].T, matrix[:2, 2]
    cos, sin = rbboxes[..., 4].cos(), rbboxes[..., 4].sin()
    along = torch.stack([cos, sin], -1) @ linear
    across = torch.stack([-sin, cos], -1) @ linear
    w, h = rbboxes[..., 2] * along.norm(dim=-1), rbboxes[..., 3] * across.norm(dim=-1)
    longer = torch.where((w >= h).unsqueeze(-1), along, torch.stack([across[..., 1], -across[..., 0]], -1))
    angle = torch.atan2(longer[..., 1], longer[..., 0])
    centres = rbboxes[..., :2] @ linear + shift
    return normalize_rbboxes(torch.cat([centres, torch.stack([w, h, angle], -1)], -1))
