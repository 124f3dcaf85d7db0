"""``SwiGLU``: an activation that lets one half of the values weigh the other."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SwiGLU(nn.Module):
    """SiLU of the first half of the values times the second half (arXiv:2002.05202, equation 6).

    Shape: ``(..., 2 C)`` to ``(..., C)``; it is an activation of feed-forward layers only, see ``TransformerLayer``.
    """

    def forward(self, x: Tensor) -> Tensor:
        gate, values = x.chunk(2, dim=-1)
        return F.silu(gate) * values
