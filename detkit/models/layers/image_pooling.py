"""``ImagePoolingAttention``: text embeddings that look at an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_POOLED = 3  # cells of a side


class ImagePoolingAttention(nn.Module):
    """Attention of texts to 3 x 3 pooled cells of each feature map, added to the texts.

    (YOLO-World, https://arxiv.org/abs/2401.17270, equation 2.)

    Args:
        in_channels: channels of the maps.
        text_dims: D, length of a text's embedding.
        embed_dims: channels of queries, keys and values together.
        num_heads: heads of the attention.
    """

    def __init__(
        self, in_channels: Sequence[int], text_dims: int = 512, embed_dims: int = 256, num_heads: int = 8
    ) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(
                f'ImagePoolingAttention: {num_heads} heads do not divide embed_dims, {embed_dims}, evenly'
                '; change num_heads or embed_dims'
            )
        self.num_heads = num_heads
        self.projections = nn.ModuleList(nn.Conv2d(channels, embed_dims, 1) for channels in in_channels)
        self.query = nn.Sequential(nn.LayerNorm(text_dims), nn.Linear(text_dims, embed_dims))
        self.key = nn.Sequential(nn.LayerNorm(embed_dims), nn.Linear(embed_dims, embed_dims))
        self.value = nn.Sequential(nn.LayerNorm(embed_dims), nn.Linear(embed_dims, embed_dims))
        self.proj = nn.Linear(embed_dims, text_dims)

    def forward(self, feats: Sequence[Tensor], texts: Tensor) -> Tensor:
        """Return the texts of each image, ``(B, T, D)``, of texts ``(T, D)`` and maps ``(B, in_channels[i], h, w)``."""
        pooled = [
            _largest(projection(feat)).flatten(2) for projection, feat in zip(self.projections, feats, strict=True)
        ]
        cells = torch.cat(pooled, 2).transpose(1, 2)  # (B, 9 * levels, embed_dims)
        texts = texts.expand(cells.shape[0], *texts.shape[-2:])

        def heads(vectors: Tensor) -> Tensor:  # (B, n, embed_dims) -> (B, heads, n, d)
            return vectors.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

        attended = F.scaled_dot_product_attention(
            heads(self.query(texts)), heads(self.key(cells)), heads(self.value(cells))
        )
        return texts + self.proj(attended.transpose(1, 2).flatten(2))


def _largest(feat: Tensor) -> Tensor:
    """Return the largest values ``(B, C, 3, 3)`` of a map in 3 x 3 parts, as ``adaptive_max_pool2d`` divides it."""
    if not torch.jit.is_tracing():
        return F.adaptive_max_pool2d(feat, _POOLED)
    # ONNX has pooling to a number of cells for sizes alone that it divides; parts of others share a row or a column.
    for dim in (2, 3):
        size = feat.shape[dim]
        parts = [(size * i // _POOLED, (size * (i + 1) + _POOLED - 1) // _POOLED) for i in range(_POOLED)]
        slices = [feat[:, :, start:stop] if dim == 2 else feat[..., start:stop] for start, stop in parts]
        feat = torch.stack([each.amax(dim) for each in slices], dim)
    return feat
