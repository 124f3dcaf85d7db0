"""``BinaryCrossEntropyLoss``: every logit a yes-or-no question, with the few targets that are not 0 given sparsely."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from detkit.registry import LOSSES


@LOSSES.register_module()
class BinaryCrossEntropyLoss(nn.Module):
    """Sum of binary cross entropies over all logits, divided by ``avg_factor``.

    The cross entropy of logit x and target t is softplus(x) - t x, so targets of 0 need never be written down: a tensor
    of targets as large as the logits, nearly all zeros, is not made.

    Args:
        loss_weight: factor of the result.
        label_smoothing: ε; a target t becomes t (1 - ε) + ε / 2.
    """

    def __init__(self, loss_weight: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must be in [0, 1), found {label_smoothing}')
        self.loss_weight = loss_weight
        self.label_smoothing = label_smoothing

    def forward(
        self,
        cls_logits: Tensor,
        flat_index: Tensor,
        targets: Tensor,
        avg_factor: Tensor | float,
        weight: Tensor | None = None,
    ) -> Tensor:
        """The loss, a scalar.

        Args:
            cls_logits: any shape.
            flat_index: ``(S,)`` int64, positions in the flattened logits whose targets are not 0. Targets at a position
                that recurs are added up, so slots that hold nothing may point anywhere with target 0.
            targets: ``(S,)`` in [0, 1].
            avg_factor: what the sum is divided by.
            weight: factor of each logit's loss, broadcast against the logits; 1 by default.
        """
        looked_up = cls_logits.flatten().index_select(0, flat_index)
        loss = F.softplus(cls_logits)
        if self.label_smoothing:
            loss = loss - self.label_smoothing / 2 * cls_logits
        if weight is not None:
            loss = loss * weight
            targets = targets * weight.expand_as(cls_logits).flatten().index_select(0, flat_index)
        loss = loss.sum() - (1 - self.label_smoothing) * (targets * looked_up).sum()
        return self.loss_weight * loss / avg_factor
