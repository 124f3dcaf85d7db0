"""``RealNVP``: a normalizing flow in the plane."""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor, nn


class RealNVP(nn.Module):
    """Density of points in the plane that affine couplings map to a standard normal distribution (arXiv:1605.08803).

    Each coupling moves and scales one coordinate, in turn, by functions of the other.

    Args:
        num_couplings: number of couplings.
        hidden_channels: channels of the two hidden layers of each function.
    """

    def __init__(self, num_couplings: int = 6, hidden_channels: int = 64) -> None:
        super().__init__()
        self.scale_nets = nn.ModuleList(_net(hidden_channels, nn.Tanh()) for _ in range(num_couplings))
        self.shift_nets = nn.ModuleList(_net(hidden_channels) for _ in range(num_couplings))
        self.register_buffer('first_axis', torch.tensor([1.0, 0.0]), persistent=False)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):  # the flow begins close to the identity
                nn.init.xavier_uniform_(layer.weight, gain=0.01)

    def log_prob(self, points: Tensor) -> Tensor:
        """Return the logarithms ``(...)`` of the density at ``points (..., 2)``."""
        log_det = torch.zeros_like(points[..., 0])
        kept = self.first_axis.to(points.dtype)
        for scale_net, shift_net in zip(reversed(self.scale_nets), reversed(self.shift_nets), strict=True):
            given = points * kept
            scales, shifts = scale_net(given) * (1 - kept), shift_net(given) * (1 - kept)
            points = given + (1 - kept) * (points - shifts) * torch.exp(-scales)
            log_det = log_det - scales.sum(-1)
            kept = 1 - kept
        return log_det - points.square().sum(-1) / 2 - log(2 * pi)


def _net(hidden: int, *last: nn.Module) -> nn.Sequential:
    """Return layers ``(..., 2) -> (..., 2)``."""
    return nn.Sequential(
        nn.Linear(2, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2), *last
    )
