"""``DistributionDecoder``: a decoder whose layers refine the distributions of a box's edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from detkit.protocols import EdgeDecoder
from detkit.registry import LAYERS
from detkit.utils.errors import ConfigError

from .conv_module import Activation
from .deformable_attention import points_of_levels
from .deformable_decoder import DeformableDecoderLayer, build_position_mlp, logit
from .mlp import MLP
from .precision import full_precision
from .query_selection import init_bbox_mlp

# B images, Q queries, C embed_dims, S cells of all maps, L decoder layers.

# Limits of a layer's position encoding.
_MAX_POSITION = 10
# Keeps quotients finite for boxes without area only.
_EPS = 1e-16


class DecodedDistributions(NamedTuple):
    """Output of a decoder.

    Attributes:
        queries: ``(L, B, Q, C)``, after every layer.
        bboxes: ``(L, B, Q, 4)`` cxcywh relative to the image, as every layer refined them.
        edge_logits: ``(L, B, Q, 4, bins)``, every layer's distributions of the left, top, right and bottom edge.
        initial_bboxes: ``(B, Q, 4)``, the boxes whose edges are moved.
    """

    queries: Tensor
    bboxes: Tensor
    edge_logits: Tensor
    initial_bboxes: Tensor


@LAYERS.register_module()
class DistributionDecoder(nn.Module, EdgeDecoder):
    """Decoder of D-FINE (arXiv:2410.13842), which refines boxes by fine-grained distributions.

    ::

        queries ── layer ─┬─ layer ─┬─ …        after the first layer, a box is predicted;
        logits       0 ── + ─────── + ── …      + : MLP(query); edges = means of W under softmax(logits)

    An edge of the box is moved by the mean of the ``BinScale`` under the distribution of the edge, to which every layer
    adds logits. Boxes pass from layer to layer without a gradient, logits with one. The defaults are D-FINE's; DEIMv2
    (arXiv:2509.20787) differs in all that follows ``reg_scale``.

    Args:
        embed_dims, num_heads, num_levels, num_layers, num_points, feedforward_dims, dropout: see ``DeformableDecoder``.
        reg_max: the number of bins, less one; even.
        up, reg_scale: see ``BinScale``.
        act: activation of all MLPs, see ``ConvModule``.
        feedforward_act: activation between the two linear layers that follow the attentions, see ``TransformerLayer``.
        norm: normalisation inside the layers, 'LN' or 'RMS'.
        gated: whether a gate weighs what a query finds at its points.
        share_edge_mlp: whether all layers have one MLP of edges.
        fixed_positions: whether the position encoding of the boxes that enter the first layer serves all layers,
            instead of each having its own.
        num_position_layers: linear layers of the MLP of positions, see ``build_position_mlp``.

    Raises:
        ConfigError: ``num_points`` and ``num_levels`` differ, or there is no layer.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 3,
        num_layers: int = 6,
        num_points: int | Sequence[int] = 4,
        feedforward_dims: int = 1024,
        dropout: float = 0.0,
        reg_max: int = 32,
        up: float = 0.5,
        reg_scale: float = 4.0,
        act: Activation = 'ReLU',
        feedforward_act: Activation = 'ReLU',
        norm: str = 'LN',
        gated: bool = True,
        share_edge_mlp: bool = False,
        fixed_positions: bool = False,
        num_position_layers: int = 2,
    ) -> None:
        super().__init__()
        points = points_of_levels('DistributionDecoder', num_points, num_levels)
        if num_layers < 1:
            raise ConfigError(f'DistributionDecoder: num_layers must be at least 1, found {num_layers}')
        self.embed_dims = embed_dims
        self.num_layers = num_layers
        self.bin_scale = BinScale(reg_max, up, reg_scale)
        self.fixed_positions = fixed_positions
        layer = GatedDecoderLayer if gated else DeformableDecoderLayer
        self.layers = nn.ModuleList(
            layer(
                embed_dims,
                num_heads,
                points,
                feedforward_dims,
                dropout,
                project=False,
                act=feedforward_act,
                norm=norm,
            )
            for _ in range(num_layers)
        )
        self.position_mlp = build_position_mlp(embed_dims, num_position_layers, act)
        self.initial_mlp = MLP(embed_dims, embed_dims, 4, 3, act)
        self.edge_mlps = nn.ModuleList(
            MLP(embed_dims, embed_dims, 4 * (reg_max + 1), 3, act) for _ in range(1 if share_edge_mlp else num_layers)
        )
        for mlp in (self.initial_mlp, *self.edge_mlps):
            init_bbox_mlp(mlp)

    def forward(
        self,
        content: Tensor,
        bboxes: Tensor,
        memory: Tensor,
        sizes: Sequence[tuple[int, int]],
        query_mask: Tensor | None = None,
    ) -> DecodedDistributions:
        """Decode queries; the arguments are those of ``DeformableDecoder.forward``."""
        queries, positions, edge_logits, before = content, None, None, None
        decoded: list[tuple[Tensor, Tensor, Tensor]] = []
        for index, layer in enumerate(self.layers):
            edge_mlp = self.edge_mlps[index % len(self.edge_mlps)]  # there may be one for all
            if positions is None or not self.fixed_positions:
                with full_precision(bboxes):
                    positions = self.position_mlp(bboxes).clamp(-_MAX_POSITION, _MAX_POSITION)
            queries = layer(queries, positions, bboxes, memory, sizes, query_mask)
            with full_precision(bboxes):
                precise = queries.to(bboxes.dtype)
                if edge_logits is None:
                    initial = (self.initial_mlp(precise) + logit(bboxes)).sigmoid()
                    edge_logits = edge_mlp(precise)
                else:
                    edge_logits = edge_mlp(precise + before) + edge_logits
                distributions = edge_logits.unflatten(-1, (4, -1))  # (B, Q, 4 * bins) -> (B, Q, 4, bins)
                refined = self.bin_scale.move(initial.detach(), distributions)
            decoded.append((queries, refined, distributions))
            before, bboxes = precise.detach(), refined.detach()
        return DecodedDistributions(*(torch.stack(parts) for parts in zip(*decoded, strict=True)), initial)


class BinScale(nn.Module):
    """The distances that the bins of an edge's distribution stand for, finer near 0 (D-FINE, equation 4).

    With a = up * reg_scale they are 0 in the middle, ±((a + 1)^(k / (reg_max / 2 - 1)) - 1) for k = 1, 2, … beside it,
    which ends in ±a, and ±2 a at both ends. Their unit is the box's side divided by ``reg_scale``.

    Args:
        reg_max: the number of bins, less one; even and at least 4.
        up, reg_scale: factors, held as parameters that are not trained.

    Raises:
        ConfigError: ``reg_max`` is odd or less than 4.
    """

    def __init__(self, reg_max: int = 32, up: float = 0.5, reg_scale: float = 4.0) -> None:
        super().__init__()
        if reg_max < 4 or reg_max % 2:
            raise ConfigError(f'DistributionDecoder: reg_max must be even and at least 4, found {reg_max}')
        self.reg_max = reg_max
        self.up = nn.Parameter(torch.tensor([float(up)]), requires_grad=False)
        self.reg_scale = nn.Parameter(torch.tensor([float(reg_scale)]), requires_grad=False)

    def distances(self) -> Tensor:
        """Return the distance of each bin, ascending: ``(reg_max + 1,)``."""
        end = self.up.abs() * self.reg_scale.abs()
        steps = torch.arange(1, self.reg_max // 2, device=end.device, dtype=end.dtype)
        inner = (end + 1) ** (steps * 2 / (self.reg_max - 2)) - 1
        return torch.cat((-2 * end, -inner.flip(0), torch.zeros_like(end), inner, 2 * end))

    def move(self, bboxes: Tensor, edge_logits: Tensor) -> Tensor:
        """Return boxes whose edges are moved outwards by the mean distances.

        Args:
            bboxes: ``(..., 4)`` cxcywh.
            edge_logits: ``(..., 4, bins)`` of the left, top, right and bottom edge.
        """
        means = edge_logits.softmax(-1) @ self.distances().to(edge_logits.dtype)  # (..., 4)
        centres, sides = bboxes.split(2, dim=-1)
        unit = sides / self.reg_scale.abs()
        half = self.reg_scale.abs() / 2
        low = centres - (half + means[..., :2]) * unit
        high = centres + (half + means[..., 2:]) * unit
        return torch.cat(((low + high) / 2, high - low), dim=-1)

    def bins(self, bboxes: Tensor, targets: Tensor) -> Tensor:
        """Return where between the bins the edges of ``targets`` are, ``(..., 4)`` in [0, reg_max).

        Args:
            bboxes: ``(..., 4)`` cxcywh, of which ``move`` would make the targets.
            targets: ``(..., 4)`` xyxy.
        """
        centres, sides = bboxes.split(2, dim=-1)
        unit = sides / self.reg_scale.abs() + _EPS
        outwards = torch.cat(((centres - targets[..., :2]) / unit, (targets[..., 2:] - centres) / unit), dim=-1)
        moved = outwards - self.reg_scale.abs() / 2
        distances = self.distances().to(moved.dtype)
        below = (torch.searchsorted(distances, moved.contiguous(), right=True) - 1).clamp(0, self.reg_max - 1)
        first, second = distances[below], distances[below + 1]
        bins = below + ((moved - first) / (second - first)).clamp(0, 1)
        return bins.clamp(max=self.reg_max * (1 - torch.finfo(bins.dtype).eps))


class GatedDecoderLayer(DeformableDecoderLayer):
    """Decoder layer in which a gate weighs the queries and what they found at their points.

    Args:
        embed_dims, *args, **options: the arguments of ``DeformableDecoderLayer``.
    """

    def __init__(self, embed_dims: int, *args: Any, **options: Any) -> None:
        super().__init__(embed_dims, *args, **options)
        self.gate = nn.Linear(2 * embed_dims, 2 * embed_dims)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def join(self, queries: Tensor, attended: Tensor) -> Tensor:
        shares = self.gate(torch.cat((queries, attended), dim=-1)).sigmoid().chunk(2, dim=-1)
        return shares[0] * queries + shares[1] * attended
