"""Attention of several heads: its values, or the maps of its weights alone."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .keyed_dropout import draws_are_keyed, dropout
from .linear import Linear
from .precision import cast_once
from .sliced_attention import can_slice, sliced_attention


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with H heads (Vaswani et al., arXiv:1706.03762, section 3.2).

    Args:
        embed_dims: C, channels of queries, keys, values and output.
        num_heads: H, a divisor of C.
        dropout: share of the attention weights that training leaves out.
    """

    def __init__(self, embed_dims: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if num_heads < 1 or embed_dims % num_heads:
            raise ValueError(
                f'embed_dims {embed_dims} is no multiple of num_heads {num_heads}; change either so that it is'
            )
        self.num_heads = num_heads
        self.dropout = dropout
        self.query_proj = Linear(embed_dims, embed_dims)
        self.key_proj = Linear(embed_dims, embed_dims)
        self.value_proj = Linear(embed_dims, embed_dims)
        self.out_proj = Linear(embed_dims, embed_dims)
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw weights within Xavier's bounds; the projections of the input count as one (3C, C) matrix, as in DETR."""
        for layer in (self.query_proj, self.key_proj, self.value_proj):
            nn.init.xavier_uniform_(layer.weight, gain=0.5**0.5)
            nn.init.zeros_(layer.bias)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Return the attention's output for each query.

        Args:
            queries: ``(B, Q, C)``.
            keys, values: ``(B, S, C)``.
            key_mask: bool, broadcast to ``(B, H, Q, S)``; True where a key takes part, at least one for each query.

        Returns:
            ``(B, Q, C)``.
        """
        projections = (self.query_proj, self.key_proj, self.value_proj)
        heads = [
            proj(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, Q, C) -> (B, H, Q, C / H)
            for proj, x in zip(projections, cast_once(queries, keys, values), strict=True)
        ]
        p = self.dropout if self.training else 0.0
        if p and draws_are_keyed():
            attended = _attend_with_dropout(*heads, key_mask, p)
        elif not p and key_mask is None and can_slice(*heads):
            attended = sliced_attention(*heads)
        else:
            attended = F.scaled_dot_product_attention(*heads, attn_mask=key_mask, dropout_p=p)
        return self.out_proj(attended.transpose(1, 2).flatten(2))  # (B, H, Q, C / H) -> (B, Q, C)


def _attend_with_dropout(queries: Tensor, keys: Tensor, values: Tensor, key_mask: Tensor | None, p: float) -> Tensor:
    """Return what ``scaled_dot_product_attention`` does, whose own dropout takes no generator.

    Args:
        queries, keys, values: ``(B, H, Q or S, C / H)``.
        key_mask: see ``MultiHeadAttention``.
        p: share of the weights to leave out.
    """
    weights = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)  # (B, H, Q, S)
    if key_mask is not None:
        weights = weights.masked_fill(~key_mask, float('-inf'))
    return dropout(weights.softmax(-1).to(values.dtype), p) @ values


class AttentionMaps(nn.Module):
    """The weights of an attention without its values (DETR, arXiv:2005.12872, section 4.4).

    The softmax runs over all cells of all heads together, so that heads compete in the same way as cells.

    Args:
        embed_dims: C, channels of queries and keys.
        num_heads: H, a divisor of C.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or embed_dims % num_heads:
            raise ValueError(
                f'embed_dims {embed_dims} is no multiple of num_heads {num_heads}; change either so that it is'
            )
        self.num_heads = num_heads
        self.query_proj = Linear(embed_dims, embed_dims)
        self.key_proj = Linear(embed_dims, embed_dims)
        for layer in (self.query_proj, self.key_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, keys: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Return the attention maps.

        Args:
            queries: ``(B, Q, C)``.
            keys: ``(B, S, C)``.
            padding_mask: ``(B, S)`` bool, True where padded.

        Returns:
            ``(B, Q, H, S)``, where the H * S weights of each query add up to 1.
        """
        queries, keys = (
            proj(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, N, C) -> (B, H, N, C / H)
            for proj, x in ((self.query_proj, queries), (self.key_proj, keys))
        )
        weights = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)  # (B, H, Q, S)
        if padding_mask is not None:
            weights = weights.masked_fill(padding_mask[:, None, None], float('-inf'))
        weights = weights.transpose(1, 2)  # (B, Q, H, S)
        return weights.flatten(2).softmax(-1).view(weights.shape)
