"""``BinaryFocalLoss``: binary cross entropy that counts less where the answer is already right."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.registry import LOSSES


@LOSSES.register_module()
class BinaryFocalLoss(nn.Module):
    """Sum of focal losses over all logits (arXiv:1708.02002, equation 5), divided by ``avg_factor``.

    With p = sigmoid(logit) and target t the cross entropy is multiplied by (1 - q)^γ, q = t p + (1 - t)(1 - p), and by
    t α + (1 - t)(1 - α), which for targets between 0 and 1 is how ultralytics extends the paper's two cases. Targets
    are given sparsely, as in ``BinaryCrossEntropyLoss``.

    Args:
        gamma: γ; 0 gives cross entropy times the α factor.
        alpha: α.
        loss_weight: factor of the result.
        label_smoothing: ε; a target t becomes t (1 - ε) + ε / 2.
    """

    def __init__(
        self, gamma: float = 1.5, alpha: float = 0.25, loss_weight: float = 1.0, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if gamma < 0:
            raise ValueError(f'BinaryFocalLoss: gamma must be at least 0, found {gamma}')
        if not 0 <= alpha <= 1:
            raise ValueError(f'BinaryFocalLoss: alpha must be in [0, 1], found {alpha}')
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must be in [0, 1), found {label_smoothing}')
        self.gamma = gamma
        self.alpha = alpha
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
        """The loss, a scalar; arguments as ``BinaryCrossEntropyLoss``, but that a position with a target above 0 may
        not recur with another such target."""
        background = self.label_smoothing / 2
        loss = self._focal(cls_logits, background)
        # At the few places with a target, what it should be instead of what the line above made of it.
        looked_up = cls_logits.flatten().index_select(0, flat_index)
        change = self._focal(looked_up, targets * (1 - self.label_smoothing) + background)
        change = change - self._focal(looked_up, background)
        if weight is not None:
            loss = loss * weight
            change = change * weight.expand_as(cls_logits).flatten().index_select(0, flat_index)
        return self.loss_weight * (loss.sum() + change.sum()) / avg_factor

    def _focal(self, logits: Tensor, targets: Tensor | float) -> Tensor:
        probs = logits.sigmoid()
        wrong = targets + (1 - 2 * targets) * probs  # 1 - q
        share = (1 - self.alpha) + (2 * self.alpha - 1) * targets
        # Without the floor the root's slope at a wrongness that rounds to 0 would be infinite.
        modulation = wrong.clamp(min=torch.finfo(wrong.dtype).tiny) ** self.gamma
        return (F.softplus(logits) - targets * logits) * share * modulation
