"""``RotationLoss``: the angle of a rotated box, the more it matters the less square the box is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detkit.registry import LOSSES


@LOSSES.register_module()
class RotationLoss(nn.Module):
    """exp(-ln²(w / h) / softness²) · sin²(2 Δangle), of the newer releases of ultralytics (no paper).

    The sine has a period of a quarter turn, so that a near-square box may be described either way; a box much longer
    than wide, whose angle the overlap loss teaches well, gets little weight here.

    Args:
        softness: how quickly the weight falls with the aspect ratio.
        loss_weight: factor of the result.
    """

    def __init__(self, softness: float = 3.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.softness = softness
        self.loss_weight = loss_weight

    def forward(self, angles: Tensor, targets: Tensor, weight: Tensor, avg_factor: Tensor | float) -> Tensor:
        """Weighted sum divided by ``avg_factor``, a scalar.

        Args:
            angles: ``(...)`` predicted, radians.
            targets: ``(..., 5)`` rotated boxes, whose sides must be positive.
            weight: ``(...)``, 0 where a slot holds nothing.
            avg_factor: what the sum is divided by.
        """
        aspect = torch.log(targets[..., 2] / targets[..., 3])
        importance = torch.exp(-((aspect / self.softness) ** 2))
        losses = importance * torch.sin(2 * (angles - targets[..., 4])) ** 2
        return self.loss_weight * (losses * weight).sum() / avg_factor
