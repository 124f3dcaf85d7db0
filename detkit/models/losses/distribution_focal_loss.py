"""``DistributionFocalLoss``: cross entropy against the two bins on either side of a distance."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.registry import LOSSES


@LOSSES.register_module()
class DistributionFocalLoss(nn.Module):
    """Cross entropies of the two bins next to the target, weighted by nearness (arXiv:2006.04388, equation 6).

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, targets: Tensor, weight: Tensor, avg_factor: Tensor | float) -> Tensor:
        """The mean over the four sides, times ``weight``, summed and divided by ``avg_factor``: a scalar.

        Args:
            logits: ``(S, 4, bins)``, of the distances 0 ... bins - 1.
            targets: ``(S, 4)`` distances in [0, bins - 1).
            weight: ``(S,)``.
            avg_factor: what the sum is divided by.
        """
        below = targets.long()
        nearness = targets - below
        log_shares = F.log_softmax(logits, -1)
        two_bins = log_shares.gather(-1, torch.stack((below, below + 1), -1))  # (S, 4, bins) -> (S, 4, 2)
        losses = -(two_bins[..., 0] * (1 - nearness) + two_bins[..., 1] * nearness)
        return self.loss_weight * (losses.mean(-1) * weight).sum() / avg_factor
