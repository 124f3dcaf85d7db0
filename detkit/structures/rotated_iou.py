"""Exact overlaps of rotated boxes, many pairs at once, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.structures.rotated_tensors import rbbox_corners

# Pairs worked on at a time, which bounds the memory: about 1 kB each.
_CHUNK = 1 << 18


def rotated_intersections(rbboxes: Tensor, others: Tensor) -> Tensor:
    """Return the area that each box shares with the one at the same index.

    In the frame of the second box, whose sides are then upright, the first is cut along each of them in turn
    (Sutherland and Hodgman, 1974). The polygon that is left has at most 8 corners; unused entries repeat the first one,
    which changes no area.

    Args:
        rbboxes, others: ``(P, 5)``.

    Returns:
        ``(P,)`` float64.
    """
    if len(rbboxes) > _CHUNK:
        parts = zip(rbboxes.split(_CHUNK), others.split(_CHUNK), strict=True)
        return torch.cat([rotated_intersections(*part) for part in parts])
    rbboxes, others = rbboxes.double(), others.double()
    relative = torch.cat([rbboxes[:, :2] - others[:, :2], rbboxes[:, 2:]], 1)
    cos, sin = others[:, 4].cos()[:, None], others[:, 4].sin()[:, None]
    corners = rbbox_corners(relative)
    x, y = corners.unbind(-1)  # (P, 4)
    points = torch.stack([x * cos + y * sin, y * cos - x * sin], -1)
    counts = torch.full_like(others[:, 0], 4, dtype=torch.int64)
    for axis in (0, 1):
        half = others[:, 2 + axis, None] / 2
        for sign in (1, -1):
            points, counts = _cut(points, counts, half + sign * points[..., axis])
    x, y = points.unbind(-1)
    areas = (x * y.roll(-1, 1) - x.roll(-1, 1) * y).sum(1).abs() / 2
    return torch.where(counts > 2, areas, torch.zeros_like(areas))


def _cut(points: Tensor, counts: Tensor, depths: Tensor) -> tuple[Tensor, Tensor]:
    """Keep of polygons ``(P, n, 2)`` the side where ``depths (P, n)`` is at least 0: ``(P, n + 1, 2)``, new counts."""
    corners = torch.arange(points.shape[1], device=points.device)
    real = corners < counts.unsqueeze(1)
    inside = depths >= 0
    following, next_depths = points.roll(-1, 1), depths.roll(-1, 1)
    crosses = (inside != (next_depths >= 0)) & real
    inside = inside & real
    fraction = torch.where(crosses, depths / (depths - next_depths), torch.zeros_like(depths))
    crossing = points + fraction.unsqueeze(-1) * (following - points)
    # A corner is emitted when inside, then the crossing on the way to the next one. The value of a surplus entry (the
    # last one, cut off again) is all that is not emitted.
    emitted = inside.long() + crosses.long()
    ends = emitted.cumsum(1)
    new_counts = ends[:, -1]
    size = points.shape[1] + 1
    spill = torch.full_like(ends, size)
    at_corner = torch.where(inside, (ends - emitted).clamp(max=size - 1), spill)
    at_crossing = torch.where(crosses, (ends - 1).clamp(max=size - 1), spill)
    out = points.new_zeros(len(points), size + 1, 2)
    out.scatter_(1, at_corner.unsqueeze(-1).expand(-1, -1, 2), points)
    out.scatter_(1, at_crossing.unsqueeze(-1).expand(-1, -1, 2), crossing)
    out = out[:, :size]
    unused = torch.arange(size, device=points.device) >= new_counts.unsqueeze(1)
    return torch.where(unused.unsqueeze(-1), out[:, :1], out), new_counts


def rotated_iou(rbboxes: Tensor, others: Tensor) -> Tensor:
    """Return the IoU of each box with the one at the same index: ``(P, 5)`` twice -> ``(P,)`` float64."""
    shared = rotated_intersections(rbboxes, others)
    areas = rbboxes[:, 2:4].double().prod(1) + others[:, 2:4].double().prod(1)
    return shared / (areas - shared).clamp(min=1e-12)


def nearby_pairs(rbboxes: Tensor, others: Tensor, allowed: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the pairs whose circumscribed circles meet: all others cannot overlap.

    Args:
        rbboxes: ``(N, 5)``.
        others: ``(M, 5)``.
        allowed: ``(N, M)`` bool, pairs to look at; None: all.

    Returns:
        indices into ``rbboxes`` and into ``others``, ``(P,)`` each.
    """
    radii, other_radii = (b[:, 2:4].double().norm(dim=1) / 2 for b in (rbboxes, others))
    centres, other_centres = rbboxes[:, None, :2].double(), others[None, :, :2].double()
    near = (centres - other_centres).square().sum(-1) < (radii[:, None] + other_radii).square()
    return (near if allowed is None else near & allowed).nonzero(as_tuple=True)


def pairwise_rotated_iou(rbboxes: Tensor, others: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Return ``(N, M)`` float64 IoU of each of N boxes with each of M; 0 where not ``allowed`` (``(N, M)`` bool)."""
    first, second = nearby_pairs(rbboxes, others, allowed)
    overlaps = torch.zeros(len(rbboxes), len(others), dtype=torch.float64, device=rbboxes.device)
    overlaps[first, second] = rotated_iou(rbboxes[first], others[second])
    return overlaps
