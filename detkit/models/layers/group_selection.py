"""``GroupSelection``: the cells of feature maps that most likely hold an object, for one group of queries."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .lite_decoder import change_boxes
from .mlp import PreciseMLP
from .precision import full_precision
from .query_selection import init_bbox_mlp, init_class_layer
from .turned_boxes import box_dims, with_angles

# B images, S cells of all maps, C embed_dims, Q queries.


class SelectedCells(NamedTuple):
    """The selected cells, best first.

    Attributes:
        content: ``(B, Q, C)``.
        cls_logits: ``(B, Q, num_classes)``.
        bbox_preds: ``(B, Q, 4)`` cxcywh relative to the image, or 5 with an angle.
    """

    content: Tensor
    cls_logits: Tensor
    bbox_preds: Tensor


class GroupSelection(nn.Module):
    """Predict classes at every cell, and boxes at those of the highest scores, as changes of the cells' anchors.

    Only the selected cells have a gradient, so that only these are computed with one.

    Args:
        num_classes: number of classes.
        embed_dims: C.
        num_bbox_layers: linear layers of the MLP.
        rotated: whether boxes have an angle as fifth number, see ``turned_boxes``.

    Attributes:
        order: ``(B, Q)`` int64, the order in which the cells are taken, those of the highest scores first being 0, 1,
            2, ...; None for that order.
    """

    order: Tensor | None = None

    def __init__(self, num_classes: int, embed_dims: int, num_bbox_layers: int = 3, rotated: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(embed_dims, embed_dims)
        self.norm = nn.LayerNorm(embed_dims)
        self.fc_cls = nn.Linear(embed_dims, num_classes)
        self.bbox_mlp = PreciseMLP(embed_dims, embed_dims, box_dims(rotated), num_bbox_layers)
        init_class_layer(self.fc_cls)
        init_bbox_mlp(self.bbox_mlp)

    def forward(self, memory: Tensor, anchors: Tensor, usable: Tensor, num_queries: int) -> SelectedCells:
        """Return the cells of the highest scores.

        Args:
            memory: ``(B, S, C)``, 0 where not usable.
            anchors: ``(S, 4)`` cxcywh relative to the image, 0 where not usable.
            usable: ``(S, 1)`` bool, which cells may be selected while there are others.
            num_queries: Q, at most S.
        """
        with torch.no_grad():
            scores = self.fc_cls(self.norm(self.linear(memory))).masked_fill(~usable, float('-inf')).amax(-1)  # (B, S)
            indices = scores.topk(num_queries, dim=1).indices.unsqueeze(-1)  # (B, Q, 1)
            if self.order is not None:
                indices = indices.gather(1, self.order.unsqueeze(-1))
        cells = memory.gather(1, indices.expand(-1, -1, memory.shape[-1]))
        cells = self.norm(self.linear(cells))
        change = self.bbox_mlp(cells)
        with full_precision(memory):
            cells = cells.to(anchors.dtype)
            chosen = anchors.expand(memory.shape[0], -1, -1).gather(1, indices.expand(-1, -1, 4))
            chosen = with_angles(chosen, torch.zeros_like(change[..., 4:]))  # anchors are upright
            return SelectedCells(cells, self.fc_cls(cells), change_boxes(chosen, change))
