"""``QueryMaskDecoder``: a mask for each query, as the product of its vector with those of pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .feedforward import feedforward
from .linear import Linear
from .normalization import LayerNorm2d

# B images, Q queries, C embed_dims, L decoder layers.


class QueryMaskDecoder(nn.Module):
    """Vectors of pixels and of queries, whose products are the logits of masks (RF-DETR, arXiv:2511.09554).

    ::

        map ── upsampled ─┬─ block ─┬─ block ─┬─ …        a block for each decoder layer
                         1x1       1x1       1x1  ── vectors of pixels
        queries ── normalisation, MLP (+ queries) ── linear ── vectors of queries

    Args:
        embed_dims: C.
        num_layers: L.
        mlp_ratio: width of the MLP, as a multiple of C.

    Attributes:
        bias: is added to every logit.
    """

    def __init__(self, embed_dims: int, num_layers: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PixelBlock(embed_dims) for _ in range(num_layers))
        self.pixel_proj = nn.Conv2d(embed_dims, embed_dims, 1)
        self.query_norm = nn.LayerNorm(embed_dims)
        self.linear1 = Linear(embed_dims, mlp_ratio * embed_dims)
        self.linear2 = Linear(mlp_ratio * embed_dims, embed_dims)
        self.query_proj = Linear(embed_dims, embed_dims)
        self.bias = nn.Parameter(torch.zeros(1))

    def pixels(self, feat: Tensor, size: Sequence[int], num_layers: int) -> list[Tensor]:
        """Return the vectors ``(B, C, *size)`` of pixels before all blocks, and after each of the first ``num_layers``.

        Args:
            feat: ``(B, C, h, w)``.
            size: (h, w) of the masks.
            num_layers: at most L.
        """
        feat = F.interpolate(feat, tuple(size), mode='bilinear', align_corners=False)
        outputs = [feat]
        for block in self.blocks[:num_layers]:
            outputs.append(block(outputs[-1]))
        return outputs

    def queries(self, queries: Tensor) -> Tensor:
        """Return the vectors of queries ``(..., C)``."""
        hidden = feedforward(self.linear1, F.gelu, self.linear2, self.query_norm(queries))
        return self.query_proj(queries + hidden)


class PixelBlock(nn.Module):
    """Depthwise 3x3, normalisation of each cell's channels, 1x1 and GELU, beside a shortcut: ``(B, C, H, W)``.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = LayerNorm2d(channels)
        self.pointwise = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x)).permute(0, 2, 3, 1)  # (B, C, H, W) -> (B, H, W, C)
        return x + F.gelu(self.pointwise(y)).permute(0, 3, 1, 2)
