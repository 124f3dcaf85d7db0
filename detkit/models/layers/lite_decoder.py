"""``LiteDecoder``: a decoder whose layers all look around the same boxes, which are refined once."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor, nn

from detkit.protocols import QueryDecoder
from detkit.registry import LAYERS
from detkit.utils.errors import ConfigError

from .deformable_attention import points_of_levels
from .deformable_decoder import Decoded, DeformableDecoderLayer
from .mlp import MLP, PreciseMLP
from .precision import full_precision
from .query_selection import init_bbox_mlp
from .turned_boxes import box_dims, box_features, feature_dims

# B images, Q queries, C embed_dims, S cells of all maps, L decoder layers.

_TEMPERATURE = 10000.0


@LAYERS.register_module()
class LiteDecoder(nn.Module, QueryDecoder):
    """Decoder of LW-DETR and RF-DETR (arXiv:2406.03459, arXiv:2511.09554).

    ::

        queries ── layer ─┬─ layer ─┬─ … ── normalisation ── MLP ── change of the box
        boxes ────────────┴─────────┴─ …

    The boxes that enter are those of every layer, and so is their position encoding, an MLP of their sines. One
    normalisation and one MLP serve all layers' outputs, whose boxes are changes of those that enter, see
    ``change_boxes``.

    Args:
        embed_dims: C.
        num_heads: heads of the attention among queries, a divisor of C.
        cross_heads: heads of the attention to points, a divisor of C.
        num_levels: feature maps; given by the head.
        num_layers: L.
        num_points: points of a head and query in each map: one number, or one for each map.
        feedforward_dims: width between the two linear layers that follow the attentions.
        num_bbox_layers: linear layers of the MLP of boxes.
        dropout: share of values that training leaves out.
        rotated, turn_points: see ``DeformableDecoder``.

    Raises:
        ConfigError: ``num_points`` and ``num_levels`` differ, or a number is too small.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        cross_heads: int = 16,
        num_levels: int = 1,
        num_layers: int = 3,
        num_points: int | Sequence[int] = 2,
        feedforward_dims: int = 2048,
        num_bbox_layers: int = 3,
        dropout: float = 0.0,
        rotated: bool = False,
        turn_points: bool = True,
    ) -> None:
        super().__init__()
        points = points_of_levels('LiteDecoder', num_points, num_levels)
        if num_layers < 1:
            raise ConfigError(f'LiteDecoder: num_layers must be at least 1, found {num_layers}')
        if embed_dims % 4:
            raise ConfigError(f'LiteDecoder: embed_dims must be a multiple of 4, found {embed_dims}')
        self.embed_dims = embed_dims
        self.num_layers = num_layers
        self.layers = nn.ModuleList(
            DeformableDecoderLayer(
                embed_dims,
                num_heads,
                points,
                feedforward_dims,
                dropout,
                cross_heads=cross_heads,
                turn_points=turn_points,
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(embed_dims)
        self.position_mlp = MLP(2 * embed_dims + feature_dims(rotated) - 4, embed_dims, embed_dims, 2)
        self.bbox_mlp = PreciseMLP(embed_dims, embed_dims, box_dims(rotated), num_bbox_layers)
        init_bbox_mlp(self.bbox_mlp)

    def forward(
        self,
        content: Tensor,
        bboxes: Tensor,
        memory: Tensor,
        sizes: Sequence[tuple[int, int]],
        query_mask: Tensor | None = None,
        num_groups: int = 1,
    ) -> Decoded:
        """Decode queries; the arguments are those of ``DeformableDecoder``, but boxes may have a gradient."""
        with full_precision(bboxes):
            features = box_sines(bboxes[..., :4], self.embed_dims // 2)
            if bboxes.shape[-1] == 5:
                features = torch.cat((features, box_features(bboxes)[..., 4:]), dim=-1)
        positions = self.position_mlp(features)
        queries, outputs = content, []
        for layer in self.layers:
            queries = layer(queries, positions, bboxes, memory, sizes, query_mask, num_groups)
            outputs.append(self.norm(queries))
        decoded = torch.stack(outputs)
        change = self.bbox_mlp(decoded)
        with full_precision(bboxes):
            return Decoded(decoded, change_boxes(bboxes, change))


def change_boxes(bboxes: Tensor, change: Tensor) -> Tensor:
    """Return boxes ``(..., 4)`` cxcywh whose centres move in units of their sides, which grow exponentially.

    An angle, as fifth number of both arguments, is added.
    """
    centres, sides = bboxes[..., :4].split(2, dim=-1)
    shift, growth = change[..., :4].split(2, dim=-1)
    parts = [centres + shift * sides, sides * growth.exp()]
    if bboxes.shape[-1] == 5:
        parts.append(bboxes[..., 4:] + change[..., 4:])
    return torch.cat(parts, dim=-1)


def box_sines(bboxes: Tensor, dims: int) -> Tensor:
    """Return sines and cosines, alternating, of the coordinates of boxes (DAB-DETR, arXiv:2201.12329).

    Args:
        bboxes: ``(..., 4)`` cxcywh relative to the image.
        dims: numbers of each coordinate, even.

    Returns:
        ``(..., 4 * dims)``, those of y, x, w and h.
    """
    pairs = torch.arange(dims // 2, dtype=torch.float32, device=bboxes.device)
    reordered = torch.cat((bboxes[..., 1:2], bboxes[..., :1], bboxes[..., 2:]), dim=-1)  # y, x, w, h
    angles = reordered.unsqueeze(-1) * (2 * pi) / _TEMPERATURE ** (pairs * 2 / dims)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-3).to(bboxes.dtype)
