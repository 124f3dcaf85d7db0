"""``BaseLoss``: the base of all losses, with their weight and the sum in which they end."""

from __future__ import annotations

from torch import Tensor, nn

from detkit.utils.ranks import shared_divisor


class BaseLoss(nn.Module):
    """Base of losses.

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def reduce(self, losses: Tensor, weight: Tensor | None, avg_factor: Tensor | float | None) -> Tensor:
        """Return the sum of the weighted losses, times ``loss_weight``, divided by ``avg_factor``: a scalar.

        Args:
            losses: any shape.
            weight: the shape of ``losses``; None counts all alike.
            avg_factor: the divisor; None takes the sum of the weights, see ``shared_divisor``.
        """
        if avg_factor is None:
            avg_factor = shared_divisor(losses.numel() if weight is None else weight.sum(), losses)
        if weight is not None:
            losses = losses * weight
        return self.loss_weight * losses.sum() / avg_factor
