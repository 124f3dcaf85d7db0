"""The boxes of queries, upright or turned: how layers read them, and how they change them.

Relative to the image, an upright box is (cx, cy, w, h), and a turned one has its angle besides, in radians: the box of
the four numbers, in pixels, turned about its centre, clockwise on the screen. Angles of queries are not bounded; two
that differ by pi are the same, so that nothing holds a box back from turning on.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor

# Keeps the logits of coordinates finite.
_EPS = 1e-5


def box_dims(rotated: bool) -> int:
    """Return how many numbers a box has, 4 or 5."""
    return 5 if rotated else 4


def feature_dims(rotated: bool) -> int:
    """Return how many numbers ``box_features`` has, 4 or 6."""
    return 6 if rotated else 4


def box_features(bboxes: Tensor) -> Tensor:
    """Return what a layer sees of boxes: of an angle t the cosine and sine of 2 t, which repeat after half a turn.

    Args:
        bboxes: ``(..., 4)`` or ``(..., 5)``.

    Returns:
        ``(..., 4)`` or ``(..., 6)``.
    """
    if bboxes.shape[-1] == 4:
        return bboxes
    doubled = 2 * bboxes[..., 4:]
    return torch.cat((bboxes[..., :4], doubled.cos(), doubled.sin()), dim=-1)


def refine(bboxes: Tensor, change: Tensor) -> Tensor:
    """Return boxes whose coordinates' logits, and angles, are changed by ``change``, of the shape of ``bboxes``."""
    if bboxes.shape[-1] == 4:
        return (change + logit(bboxes)).sigmoid()
    upright = (change[..., :4] + logit(bboxes[..., :4])).sigmoid()
    return torch.cat((upright, bboxes[..., 4:] + change[..., 4:]), dim=-1)


def with_angles(bboxes: Tensor, angles: Tensor) -> Tensor:
    """Return boxes ``(..., 5)`` of upright ones ``(..., 4)``; those themselves where the angles are ``(..., 0)``."""
    return torch.cat((bboxes, angles), dim=-1) if angles.shape[-1] else bboxes


def logit(coordinates: Tensor) -> Tensor:
    """Return the logits of coordinates, bounded where these are nearer to 0 or 1 than 1e-5, or outside of them."""
    inside = coordinates.clamp(0, 1)
    return (inside.clamp(min=_EPS) / (1 - inside).clamp(min=_EPS)).log()


def described_like(targets: Tensor, angles: Tensor, size: Sequence[float | Tensor] = (1.0, 1.0)) -> Tensor:
    """Return the same rectangles with the angles that are nearest to given ones.

    Of the angles that describe a rectangle, a quarter turn apart, each second one has the sides exchanged. A box that
    learns the nearest description turns by an eighth of a turn at most, whichever of its sides is the longer one.

    Args:
        targets: ``(..., 5)`` relative to the image.
        angles: ``(...)`` in radians; both are broadcast against each other.
        size: (h, w) of the image; only their ratio counts.
    """
    quarters = ((angles - targets[..., 4]) / (pi / 2)).round()
    aspect = size[1] / size[0]
    w, h = targets[..., 2], targets[..., 3]
    odd = quarters.remainder(2) == 1
    sides = torch.where(odd, h / aspect, w), torch.where(odd, w * aspect, h)
    centres = targets[..., :2].expand(*odd.shape, 2)
    return torch.cat((centres, torch.stack((*sides, targets[..., 4] + quarters * (pi / 2)), dim=-1)), dim=-1)


def turn(offsets: Tensor, angles: Tensor, size: Sequence[int | Tensor]) -> Tensor:
    """Return offsets, relative to the image, that are turned by angles in pixels.

    Args:
        offsets: ``(..., 2)``, along a box's w in units of the image's width, and along its h in those of its height.
        angles: ``(...)`` in radians.
        size: (h, w) of the image or of a map of it; only their ratio counts.
    """
    along, across = offsets.unbind(-1)
    cos, sin = angles.cos(), angles.sin()
    aspect = size[1] / size[0]
    return torch.stack((along * cos - across * sin / aspect, along * sin * aspect + across * cos), dim=-1)
