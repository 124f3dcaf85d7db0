"""The sum that losses end in."""

from __future__ import annotations

from torch import Tensor


def reduce_losses(
    losses: Tensor, weight: Tensor | None, avg_factor: Tensor | float | None, loss_weight: float
) -> Tensor:
    """Return the sum of the weighted losses, times ``loss_weight``, divided by ``avg_factor``: a scalar.

    Args:
        losses: any shape.
        weight: the shape of ``losses``; None counts all alike.
        avg_factor: the divisor; None takes the sum of the weights, at least 1.
        loss_weight: factor of the result.
    """
    if avg_factor is None:
        avg_factor = max(losses.numel(), 1) if weight is None else weight.sum().clamp(min=1)
    if weight is not None:
        losses = losses * weight
    return loss_weight * losses.sum() / avg_factor
