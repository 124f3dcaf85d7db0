"""``MaskFocalLoss``: focal loss of whole masks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from detkit.registry import LOSSES


@LOSSES.register_module()
class MaskFocalLoss(nn.Module):
    """Focal loss (arXiv:1708.02002) of each pixel, averaged over a mask's pixels.

    With p the probability that the prediction gives to the truth, a pixel's loss is alpha (1 - p)^gamma (-ln p), and
    1 - alpha in place of alpha on background.

    Args:
        loss_weight: factor of the result.
        alpha: weight of foreground, in [0, 1]; None leaves both kinds alone.
        gamma: how much less a pixel counts that is right already.
    """

    def __init__(self, loss_weight: float = 1.0, alpha: float | None = 0.25, gamma: float = 2.0) -> None:
        super().__init__()
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f'MaskFocalLoss: alpha must be in [0, 1], or None; found {alpha}')
        if gamma < 0:
            raise ValueError(f'MaskFocalLoss: gamma must be at least 0, found {gamma}')
        self.loss_weight = loss_weight
        self.alpha = alpha
        self.gamma = gamma

    def forward(self, mask_logits: Tensor, targets: Tensor, weight: Tensor, avg_factor: Tensor | float) -> Tensor:
        """The loss, a scalar.

        Args:
            mask_logits: ``(N, P)``, the pixels of each mask in a row.
            targets: ``(N, P)``, 0 or 1.
            weight: ``(N,)``, of each mask; 0 where there is none.
            avg_factor: what the sum over the masks is divided by.
        """
        if not mask_logits.numel():
            return mask_logits.sum() * 0
        # The signed logit's probability is the truth's.
        wrong = (mask_logits * (1 - 2 * targets)).sigmoid()  # 1 - p
        loss = F.binary_cross_entropy_with_logits(mask_logits, targets, reduction='none') * wrong**self.gamma
        if self.alpha is not None:
            loss = loss * (self.alpha * targets + (1 - self.alpha) * (1 - targets))
        return self.loss_weight * (loss.mean(1) * weight).sum() / avg_factor
