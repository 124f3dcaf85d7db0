"""``DeformableAttention``: attention of queries to a few points of several feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.utils.errors import ConfigError

from .linear import Linear
from .precision import cast_once
from .turned_boxes import turn

# B images, Q queries, H heads of D channels each, S cells of all maps together, P points of all maps together.


def points_of_levels(owner: str, num_points: int | Sequence[int], num_levels: int) -> tuple[int, ...]:
    """Return the points of a head and query in each feature map.

    Args:
        owner: the class that takes the numbers, for the error.
        num_points: one number for all maps, or one for each.
        num_levels: the number of maps.

    Raises:
        ConfigError: there are more or fewer numbers than maps.
    """
    points = (num_points,) * num_levels if isinstance(num_points, int) else tuple(num_points)
    if len(points) != num_levels:
        raise ConfigError(
            f'{owner}: num_points has {len(points)} numbers for {num_levels} feature maps'
            f'; write one number for all of them, or {num_levels} numbers'
        )
    return points


def attend_to_points(
    values: Tensor,
    sizes: Sequence[tuple[int, int]],
    points: Tensor,
    weights: Tensor,
    num_points: Sequence[int],
    discrete: bool = False,
) -> Tensor:
    """Return the weighted sum of values at points of several maps (Deformable DETR, arXiv:2010.04159, equation 3).

    Memory grows linearly with the number of points. Points and sums are in the type of ``points``, which should have
    more digits than a half-precision type.

    Args:
        values: ``(B, H, D, S)``, the cells of the maps one after the other, each map row by row.
        sizes: (h, w) of each map.
        points: ``(B, H, P, Q, 2)`` x, y relative to the image, the points in the first map first; outside of a map
            values are 0.
        weights: ``(B, H, P, Q)``.
        num_points: how many of the P points lie in each map.
        discrete: take the value of one cell, the nearest to ``point * size`` as RT-DETRv2 counts, and inside the map,
            instead of interpolating between four; points then have no gradient (arXiv:2407.17140).

    Returns:
        ``(B, Q, H * D)``.
    """
    heads, channels = values.shape[1:3]
    values = values.flatten(0, 1).to(points.dtype)  # (B * H, D, S)
    # Queries last and without gaps: sums over the points before them are vectorised.
    points = points.flatten(0, 1).contiguous()
    weights = weights.flatten(0, 1).unsqueeze(1).to(points.dtype).contiguous()
    total: Tensor | None = None
    for (height, width), level_values, level_points, level_weights in zip(
        sizes,
        values.split([height * width for height, width in sizes], dim=-1),
        points.split(list(num_points), dim=1),
        weights.split(list(num_points), dim=2),
        strict=True,
    ):
        if discrete:
            column = (level_points[..., 0] * width + 0.5).long().clamp(0, width - 1)
            row = (level_points[..., 1] * height + 0.5).long().clamp(0, height - 1)
            cells = (row * width + column).flatten(1).unsqueeze(1)  # (B * H, 1, p * Q)
            sampled = level_values.gather(-1, cells.expand(-1, channels, -1)).unflatten(-1, level_points.shape[1:3])
        else:
            level_map = level_values.unflatten(-1, (height, width))
            sampled = F.grid_sample(level_map, 2 * level_points - 1, align_corners=False)  # (B * H, D, p, Q)
        level_sum = (sampled * level_weights).sum(-2)
        total = level_sum if total is None else total + level_sum
    return total.unflatten(0, (-1, heads)).flatten(1, 2).transpose(1, 2)  # (B * H, D, Q) -> (B, Q, H * D)


class DeformableAttention(nn.Module):
    """Attention of boxes to points that are predicted for them (Deformable DETR, arXiv:2010.04159, section 4.1).

    A query's points are offsets from the centre of its box in units of the box's size; a softmax over all points of all
    maps weighs them.

    Args:
        embed_dims: channels of queries, memory and output.
        num_heads: H, a divisor of ``embed_dims``.
        num_points: points of a query and head in each map, one number for each map.
        offset_scale: offsets of 1 lie this share of the box's size from the centre.
        discrete: see ``attend_to_points``; the layer of offsets, which then has no gradient, is frozen.
        project: whether linear layers precede the values and follow the sum (D-FINE has none).
        turn_points: whether the points of boxes with an angle turn with them.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        num_points: Sequence[int],
        offset_scale: float = 0.5,
        discrete: bool = False,
        project: bool = True,
        turn_points: bool = True,
    ) -> None:
        super().__init__()
        if num_heads < 1 or embed_dims % num_heads:
            raise ValueError(
                f'embed_dims {embed_dims} is no multiple of num_heads {num_heads}; change either so that it is'
            )
        if not num_points or min(num_points) < 1:
            raise ValueError(f'DeformableAttention: num_points must be at least 1 for each map, found {num_points}')
        self.num_heads = num_heads
        self.num_points = tuple(num_points)
        self.offset_scale = offset_scale
        self.discrete = discrete
        self.turn_points = turn_points
        total = sum(self.num_points)
        self.offsets = nn.Linear(embed_dims, num_heads * total * 2)
        self.weights = nn.Linear(embed_dims, num_heads * total)
        self.value_proj = Linear(embed_dims, embed_dims) if project else nn.Identity()
        self.out_proj = Linear(embed_dims, embed_dims) if project else nn.Identity()
        shares = [1 / count for count in self.num_points for _ in range(count)]
        self.register_buffer('point_scale', torch.tensor(shares).unsqueeze(-1), persistent=False)  # (P, 1)
        self._init_weights()
        if discrete:
            self.offsets.requires_grad_(False)

    def _init_weights(self) -> None:
        """Let each head begin in a direction of its own, its points one behind the other, all of the same weight."""
        angles = torch.arange(self.num_heads, device='cpu') * (2 * pi / self.num_heads)
        directions = torch.stack((angles.cos(), angles.sin()), dim=-1)
        directions = directions / directions.abs().amax(-1, keepdim=True)  # onto a square: (H, 2)
        steps = torch.cat([torch.arange(1, count + 1, device='cpu') for count in self.num_points])  # (P,)
        nn.init.zeros_(self.offsets.weight)
        with torch.no_grad():
            self.offsets.bias.copy_((directions.unsqueeze(1) * steps.unsqueeze(-1)).flatten())
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        for layer in (self.value_proj, self.out_proj):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, bboxes: Tensor, memory: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Return the attention's output for each query, ``(B, Q, embed_dims)``.

        Args:
            queries: ``(B, Q, embed_dims)``.
            bboxes: ``(B, Q, 4)`` cxcywh relative to the image, or 5 with an angle, in float32 or finer.
            memory: ``(B, S, embed_dims)``, the cells of all maps.
            sizes: (h, w) of each map.
        """
        heads = (self.num_heads, -1)
        (queries,) = cast_once(queries)
        values = self.value_proj(memory).unflatten(-1, heads).permute(0, 2, 3, 1).contiguous()  # (B, H, D, S)
        weights = self.weights(queries).unflatten(-1, heads).softmax(-1).permute(0, 2, 3, 1)  # (B, H, P, Q)
        offsets = self.offsets(queries).unflatten(-1, (*heads, 2)).permute(0, 2, 3, 1, 4)  # (B, H, P, Q, 2)
        centres, sides = bboxes[:, None, None, :, :4].split(2, dim=-1)  # (B, 1, 1, Q, 2)
        offsets = offsets.to(bboxes.dtype) * (self.point_scale * self.offset_scale).unsqueeze(-1) * sides
        if self.turn_points and bboxes.shape[-1] == 5:
            offsets = turn(offsets, bboxes[:, None, None, :, 4], sizes[0])
        points = centres + offsets
        return self.out_proj(attend_to_points(values, sizes, points, weights, self.num_points, self.discrete))
