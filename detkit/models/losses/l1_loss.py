"""``L1Loss``: distances of coordinates."""

from __future__ import annotations

from torch import Tensor, nn

from detkit.registry import LOSSES


@LOSSES.register_module()
class L1Loss(nn.Module):
    """Sum of the coordinates' absolute differences.

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, bboxes: Tensor, targets: Tensor, weight: Tensor, avg_factor: Tensor | float) -> Tensor:
        """Weighted sum divided by ``avg_factor``, a scalar.

        Args:
            bboxes, targets: ``(S, 4)``, in the same form and unit.
            weight: ``(S,)``, 0 where a slot holds nothing.
            avg_factor: what the sum is divided by.
        """
        return self.loss_weight * ((bboxes - targets).abs().sum(-1) * weight).sum() / avg_factor
