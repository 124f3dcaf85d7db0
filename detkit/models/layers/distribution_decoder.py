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
from .deformable_decoder import DeformableDecoderLayer, build_position_mlp
from .mlp import PreciseMLP
from .precision import full_precision
from .query_selection import init_bbox_mlp
from .turned_boxes import box_dims, box_features, described_like, refine, turn, with_angles

# B images, Q queries, C embed_dims, S cells of all maps, L decoder layers.

# Limits of a layer's position encoding.
_MAX_POSITION = 10
# Keeps quotients finite for boxes without area only.
_EPS = 1e-16


class DecodedDistributions(NamedTuple):
    """Output of a decoder.

    Attributes:
        queries: ``(L, B, Q, C)``, after every layer.
        bboxes: ``(L, B, Q, 4)`` cxcywh relative to the image, as every layer refined them; or 5, see ``turned_boxes``.
        edge_logits: ``(L, B, Q, 4, bins)``, every layer's distributions of the left, top, right and bottom edge.
        initial_bboxes: ``(B, Q, 4)``, or 5, the boxes whose edges are moved.
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
    adds logits. Boxes pass from layer to layer without a gradient, logits with one. A box with an angle has edges that
    turn with it: every layer also adds to the angle, which is a number and no distribution, and edges move along the
    sides of the box so turned. The defaults are D-FINE's; DEIMv2 (arXiv:2509.20787) differs in what lies between
    ``reg_scale`` and ``rotated``.

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
        rotated, turn_points: see ``DeformableDecoder``.

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
        rotated: bool = False,
        turn_points: bool = True,
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
                turn_points=turn_points,
            )
            for _ in range(num_layers)
        )
        self.position_mlp = build_position_mlp(embed_dims, num_position_layers, act, rotated)
        self.num_edge_logits = 4 * (reg_max + 1)
        self.initial_mlp = PreciseMLP(embed_dims, embed_dims, box_dims(rotated), 3, act)
        num_outputs = self.num_edge_logits + rotated  # the angle is the last
        self.edge_mlps = nn.ModuleList(
            PreciseMLP(embed_dims, embed_dims, num_outputs, 3, act) for _ in range(1 if share_edge_mlp else num_layers)
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
                    positions = self.position_mlp(box_features(bboxes)).clamp(-_MAX_POSITION, _MAX_POSITION)
            queries = layer(queries, positions, bboxes, memory, sizes, query_mask)
            precise = queries.to(bboxes.dtype)
            if edge_logits is None:
                initial = refine(bboxes, self.initial_mlp(precise))
                edge_logits = edge_mlp(precise)
            else:
                edge_logits = edge_mlp(precise + before) + edge_logits
            with full_precision(bboxes):
                # (B, Q, 4 * bins) -> (B, Q, 4, bins)
                distributions = edge_logits[..., : self.num_edge_logits].unflatten(-1, (4, -1))
                start, turned = initial.detach(), edge_logits[..., self.num_edge_logits :]
                refined = self.bin_scale.move(
                    with_angles(start[..., :4], start[..., 4:] + turned), distributions, sizes[0]
                )
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

    def move(self, bboxes: Tensor, edge_logits: Tensor, size: Sequence[int] = (1, 1)) -> Tensor:
        """Return boxes whose edges are moved outwards by the mean distances.

        Args:
            bboxes: ``(..., 4)`` cxcywh, or 5 with an angle, whose own left, top, right and bottom edge are moved.
            edge_logits: ``(..., 4, bins)`` of the left, top, right and bottom edge.
            size: (h, w) of the image or of a map of it, for boxes with an angle.
        """
        means = edge_logits.softmax(-1) @ self.distances().to(edge_logits.dtype)  # (..., 4)
        centres, sides = bboxes[..., :4].split(2, dim=-1)
        unit = sides / self.reg_scale.abs()
        half = self.reg_scale.abs() / 2
        if bboxes.shape[-1] == 5:
            low, high = -(half + means[..., :2]) * unit, (half + means[..., 2:]) * unit  # from the centre
            moved = centres + turn((low + high) / 2, bboxes[..., 4], size)
            return torch.cat((moved, high - low, bboxes[..., 4:]), dim=-1)
        low = centres - (half + means[..., :2]) * unit
        high = centres + (half + means[..., 2:]) * unit
        return torch.cat(((low + high) / 2, high - low), dim=-1)

    def bins(self, bboxes: Tensor, targets: Tensor) -> Tensor:
        """Return where between the bins the edges of ``targets`` are, ``(..., 4)`` in [0, reg_max).

        Args:
            bboxes: ``(..., 4)`` cxcywh, of which ``move`` would make the targets.
            targets: ``(..., 4)`` xyxy.
        """
        centres = bboxes[..., :2]
        return self._between(
            bboxes[..., 2:], torch.cat((centres - targets[..., :2], targets[..., 2:] - centres), dim=-1)
        )

    def turned_bins(self, bboxes: Tensor, targets: Tensor, size: Sequence[Tensor]) -> Tensor:
        """Return ``bins`` for boxes with an angle, whose edges are measured along the sides of the targets.

        Of the angles that describe a target, a quarter turn apart, the nearest to that of the box is taken, as others
        exchange its edges.

        Args:
            bboxes, targets: ``(..., 5)`` cxcywh and angle.
            size: (h, w) of the images, each ``(...)``.
        """
        targets = described_like(targets, bboxes[..., 4], size)
        offsets = targets[..., :2] - bboxes[..., :2]
        offsets = turn(offsets, -targets[..., 4], size)  # along the sides of the target
        halves = targets[..., 2:4] / 2
        return self._between(bboxes[..., 2:4], torch.cat((halves - offsets, halves + offsets), dim=-1))

    def _between(self, sides: Tensor, edges: Tensor) -> Tensor:
        """Return where between the bins edges are that lie ``edges (..., 4)`` outwards of the centre of a box."""
        outwards = edges / (sides / self.reg_scale.abs() + _EPS).repeat(*[1] * (sides.dim() - 1), 2)
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
