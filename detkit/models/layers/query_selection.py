"""``QuerySelection``: the cells of feature maps that most likely hold an object, as queries of a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .conv_module import Activation
from .mlp import MLP, PreciseMLP
from .precision import full_precision
from .turned_boxes import box_dims, with_angles

# B images, S cells of all maps, C embed_dims, Q queries.

# Anchors have a side of this share of the image's in the finest map, and twice that in each coarser one.
_ANCHOR_SIDE = 0.05
# Anchors whose centre or side lies nearer to 0 or 1 than this are never selected for their own sake.
_MARGIN = 0.01
# The probability with which a class is predicted before training.
CLASS_PRIOR = 0.01


class SelectedQueries(NamedTuple):
    """The queries that the encoder's predictions select, best first.

    Attributes:
        content: ``(B, Q, C)``.
        cls_logits: ``(B, Q, num_classes)``.
        bbox_preds: ``(B, Q, 4)`` cxcywh relative to the image, or 5 with an angle.
        cell_idx: ``(B, Q)`` int64, the cells that they come from.
    """

    content: Tensor
    cls_logits: Tensor
    bbox_preds: Tensor
    cell_idx: Tensor


class QuerySelection(nn.Module):
    """Predict classes at every cell, and boxes at those of the highest scores (RT-DETR, arXiv:2304.08069, section 4.3).

    Only the selected cells have a gradient, so that only these are computed with one.

    Args:
        num_classes: number of classes.
        embed_dims: C.
        num_queries: Q; fewer where the maps have fewer cells.
        num_bbox_layers: linear layers of the MLP.
        act: activation of the MLP, see ``ConvModule``.
        project: whether a linear layer and a normalisation precede both; DEIMv2 has neither.
        rotated: whether boxes have an angle as fifth number, see ``turned_boxes``.
    """

    def __init__(
        self,
        num_classes: int,
        embed_dims: int,
        num_queries: int,
        num_bbox_layers: int = 3,
        act: Activation = 'ReLU',
        project: bool = True,
        rotated: bool = False,
    ) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.linear = nn.Linear(embed_dims, embed_dims) if project else nn.Identity()
        self.norm = nn.LayerNorm(embed_dims) if project else nn.Identity()
        self.fc_cls = nn.Linear(embed_dims, num_classes)
        self.bbox_mlp = PreciseMLP(embed_dims, embed_dims, box_dims(rotated), num_bbox_layers, act)
        if project:
            nn.init.xavier_uniform_(self.linear.weight)
        init_class_layer(self.fc_cls)
        init_bbox_mlp(self.bbox_mlp)

    def forward(self, memory: Tensor, sizes: Sequence[tuple[int, int]]) -> SelectedQueries:
        """Return the queries of memory ``(B, S, C)``, the cells of maps of the given (h, w)."""
        anchors, usable = cell_anchors(sizes, memory)
        anchors = anchors.logit().masked_fill(~usable, float('inf'))
        with torch.no_grad():
            scores = self.fc_cls(self.norm(self.linear(memory * usable))).amax(-1)  # (B, S)
            indices = scores.topk(at_most(self.num_queries, scores.shape[1]), dim=1).indices.unsqueeze(-1)  # (B, Q, 1)
        chosen_usable = usable.expand(memory.shape[0], -1, -1).gather(1, indices)
        cells = memory.gather(1, indices.expand(-1, -1, memory.shape[-1])) * chosen_usable
        cells = self.norm(self.linear(cells))
        change = self.bbox_mlp(cells)
        with full_precision(memory):
            cells = cells.to(anchors.dtype)
            chosen = anchors.expand(memory.shape[0], -1, -1).gather(1, indices.expand(-1, -1, 4))
            bbox_preds = with_angles((change[..., :4] + chosen).sigmoid(), change[..., 4:])
            return SelectedQueries(cells, self.fc_cls(cells), bbox_preds, indices.squeeze(-1))


def at_most(num_queries: int, num_cells: int) -> int:
    """Return the smaller number, which a traced graph computes anew for each size of images."""
    if torch.jit.is_tracing():  # where a size is a tensor
        return torch.minimum(torch.as_tensor(num_queries), torch.as_tensor(num_cells))
    return torch.sym_min(num_queries, num_cells)


def cell_anchors(sizes: Sequence[tuple[int, int]], like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the anchor of every cell, cxcywh relative to the image, and which of them may be used.

    Args:
        sizes: (h, w) of each map.
        like: a tensor of the device and, unless that is a half-precision one, of the type.

    Returns:
        ``(S, 4)``; ``(S, 1)`` bool.
    """
    options = dict(device=like.device, dtype=torch.promote_types(like.dtype, torch.float32))
    levels = []
    for level, (height, width) in enumerate(sizes):
        y = ((torch.arange(height, **options) + 0.5) / height).unsqueeze(1).expand(-1, width)  # (h, w)
        x = ((torch.arange(width, **options) + 0.5) / width).expand(height, -1)
        side = torch.full_like(x, _ANCHOR_SIDE * 2**level)
        levels.append(torch.stack((x, y, side, side), dim=-1).flatten(0, 1))
    anchors = torch.cat(levels)
    usable = ((anchors > _MARGIN) & (anchors < 1 - _MARGIN)).all(-1, keepdim=True)
    return anchors, usable


def init_class_layer(layer: nn.Linear) -> None:
    """Let a layer of class logits begin at the probability ``CLASS_PRIOR``."""
    nn.init.constant_(layer.bias, log(CLASS_PRIOR / (1 - CLASS_PRIOR)))


def init_bbox_mlp(mlp: MLP) -> None:
    """Let an MLP that refines boxes begin with no change."""
    nn.init.zeros_(mlp.layers[-1].weight)
    nn.init.zeros_(mlp.layers[-1].bias)
