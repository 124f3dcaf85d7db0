"""``DeformableDecoder``: a decoder whose queries look at points near their boxes, and whose layers refine the boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from detkit.protocols import QueryDecoder
from detkit.registry import LAYERS
from detkit.utils.errors import ConfigError

from .attention import MultiHeadAttention
from .conv_module import Activation
from .deformable_attention import DeformableAttention, points_of_levels
from .detr_transformer import TransformerLayer
from .mlp import MLP, PreciseMLP
from .normalization import build_vector_norm
from .precision import full_precision
from .query_selection import init_bbox_mlp
from .turned_boxes import box_dims, box_features, feature_dims, refine

# B images, Q queries, C embed_dims, S cells of all maps, L decoder layers.


class Decoded(NamedTuple):
    """Output of a decoder.

    Attributes:
        queries: ``(L, B, Q, C)``, after every layer.
        bboxes: ``(L, B, Q, 4)`` cxcywh relative to the image, as every layer refined them; or 5, see ``turned_boxes``.
    """

    queries: Tensor
    bboxes: Tensor


@LAYERS.register_module()
class DeformableDecoder(nn.Module, QueryDecoder):
    """Decoder of RT-DETR (arXiv:2304.08069; version 2, arXiv:2407.17140), after Deformable DETR and DINO.

    ::

        queries ── layer ─┬─ layer ─┬─ …
        boxes  ─┴───────  +  ──┴──  + ── …       + : logit(box) + MLP(query), sigmoid

    A layer's position encoding is an MLP of the boxes that enter it. Boxes pass from layer to layer without a gradient.

    Args:
        embed_dims: C.
        num_heads: heads of both attentions, a divisor of C.
        num_levels: feature maps; given by the head.
        num_layers: L.
        num_points: points of a head and query in each map: one number, or one for each map.
        feedforward_dims: width between the two linear layers that follow the attentions.
        num_bbox_layers: linear layers of each MLP of boxes.
        dropout: share of values that training leaves out.
        discrete: whether points take the value of one cell, see ``attend_to_points``.
        eval_layers: layers that evaluation runs, at most L (RT-DETR-R50-m trains 6 and uses 3); None for all.
        look_forward_twice: a layer's loss also reaches the MLP of the layer before it (DINO, section 3.5).
        act: activation of all MLPs and between the two linear layers, see ``ConvModule``.
        num_position_layers: linear layers of the MLP of positions, see ``build_position_mlp``.
        rotated: whether boxes have an angle as fifth number, see ``turned_boxes``; given by the head.
        turn_points: whether the points of a box with an angle turn with it.

    Raises:
        ConfigError: ``num_points`` and ``num_levels`` differ, or ``eval_layers`` is not within 1 … L.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 3,
        num_layers: int = 6,
        num_points: int | Sequence[int] = 4,
        feedforward_dims: int = 1024,
        num_bbox_layers: int = 3,
        dropout: float = 0.0,
        discrete: bool = False,
        eval_layers: int | None = None,
        look_forward_twice: bool = False,
        act: Activation = 'ReLU',
        num_position_layers: int = 2,
        rotated: bool = False,
        turn_points: bool = True,
    ) -> None:
        super().__init__()
        points = points_of_levels('DeformableDecoder', num_points, num_levels)
        if num_layers < 1 or not 1 <= (num_layers if eval_layers is None else eval_layers) <= num_layers:
            raise ConfigError(
                f'DeformableDecoder: num_layers must be at least 1 and eval_layers within 1 … num_layers, found '
                f'{num_layers} and {eval_layers}'
            )
        self.embed_dims = embed_dims
        self.num_layers = num_layers
        self.eval_layers = eval_layers or num_layers
        self.look_forward_twice = look_forward_twice
        self.layers = nn.ModuleList(
            DeformableDecoderLayer(
                embed_dims, num_heads, points, feedforward_dims, dropout, discrete, act=act, turn_points=turn_points
            )
            for _ in range(num_layers)
        )
        self.position_mlp = build_position_mlp(embed_dims, num_position_layers, act, rotated)
        self.bbox_mlps = nn.ModuleList(
            PreciseMLP(embed_dims, embed_dims, box_dims(rotated), num_bbox_layers, act) for _ in range(num_layers)
        )
        for mlp in self.bbox_mlps:
            init_bbox_mlp(mlp)

    def forward(
        self,
        content: Tensor,
        bboxes: Tensor,
        memory: Tensor,
        sizes: Sequence[tuple[int, int]],
        query_mask: Tensor | None = None,
        num_groups: int = 1,
    ) -> Decoded:
        """Decode queries.

        Args:
            content: ``(B, Q, C)``.
            bboxes: ``(B, Q, 4)`` cxcywh relative to the image, or 5 with an angle, without a gradient, in float32 or
                finer.
            memory: ``(B, S, C)``, the cells of all maps.
            sizes: (h, w) of each map.
            query_mask: ``(Q, Q)`` bool, True where a query (row) may look at another (column); None for all. With G
                groups ``(Q / G, Q / G)``.
            num_groups: G; the queries are G groups of equal size that do not attend to each other.
        """
        queries, previous = content, bboxes
        decoded: list[tuple[Tensor, Tensor]] = []
        count = self.num_layers if self.training else self.eval_layers
        for layer, bbox_mlp in zip(self.layers[:count], self.bbox_mlps[:count], strict=True):
            with full_precision(bboxes):
                positions = self.position_mlp(box_features(bboxes))
            queries = layer(queries, positions, bboxes, memory, sizes, query_mask, num_groups)
            change = bbox_mlp(queries)
            with full_precision(bboxes):
                refined = refine(bboxes, change)
                # The same numbers, but for a gradient that also reaches the layer before.
                output = refine(previous, change) if self.look_forward_twice else refined
            decoded.append((queries, output))
            previous, bboxes = refined, refined.detach()
        return Decoded(*(torch.stack(parts) for parts in zip(*decoded, strict=True)))


class DeformableDecoderLayer(TransformerLayer):
    """Decoder layer, in which queries attend to each other, then to points of the maps.

    Args:
        embed_dims, num_heads, feedforward_dims, dropout, discrete, turn_points: see ``DeformableDecoder``.
        num_points: points in each map.
        cross_heads: heads of the attention to points; ``num_heads`` when left out.
        project: whether the attention to points has projections, see ``DeformableAttention``.
        act, norm: see ``TransformerLayer``.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        num_points: Sequence[int],
        feedforward_dims: int,
        dropout: float = 0.0,
        discrete: bool = False,
        cross_heads: int | None = None,
        project: bool = True,
        act: Activation = 'ReLU',
        norm: str = 'LN',
        turn_points: bool = True,
    ) -> None:
        super().__init__(embed_dims, feedforward_dims, dropout, act, norm)
        self.self_attn = MultiHeadAttention(embed_dims, num_heads, dropout)
        self.cross_attn = DeformableAttention(
            embed_dims,
            cross_heads or num_heads,
            num_points,
            discrete=discrete,
            project=project,
            turn_points=turn_points,
        )
        self.norm_self = build_vector_norm(norm, embed_dims)
        self.norm_cross = build_vector_norm(norm, embed_dims)

    def forward(
        self,
        queries: Tensor,
        positions: Tensor,
        bboxes: Tensor,
        memory: Tensor,
        sizes: Sequence[tuple[int, int]],
        query_mask: Tensor | None = None,
        num_groups: int = 1,
    ) -> Tensor:
        """Return the queries ``(B, Q, C)``; ``positions`` are ``(B, Q, C)``, the others see ``DeformableDecoder``."""
        placed, values = queries + positions, queries
        if num_groups > 1:  # (B, Q, C) -> (B * G, Q / G, C)
            placed, values = (x.unflatten(1, (num_groups, -1)).flatten(0, 1) for x in (placed, values))
        attended = self.self_attn(placed, placed, values, query_mask)
        if num_groups > 1:
            attended = attended.unflatten(0, (-1, num_groups)).flatten(1, 2)  # and back
        queries = self.norm_self(queries + self.dropout(attended))
        attended = self.cross_attn(queries + positions, bboxes, memory, sizes)
        return self.feedforward(self.norm_cross(self.join(queries, self.dropout(attended))))

    def join(self, queries: Tensor, attended: Tensor) -> Tensor:
        """Return the queries with what they found at the points, both ``(B, Q, C)``."""
        return queries + attended


def build_position_mlp(embed_dims: int, num_layers: int, act: Activation, rotated: bool = False) -> MLP:
    """Return an MLP that makes position encodings ``(..., C)`` of ``box_features``.

    Args:
        embed_dims: C.
        num_layers: 2 linear layers with 2 C values between them, as RT-DETR and D-FINE have, or more of them with C.
        act: see ``MLP``.
        rotated: whether boxes have an angle.
    """
    hidden = 2 * embed_dims if num_layers == 2 else embed_dims
    mlp = MLP(feature_dims(rotated), hidden, embed_dims, num_layers, act)
    for layer in mlp.layers:
        nn.init.xavier_uniform_(layer.weight)
    return mlp
