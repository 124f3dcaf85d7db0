"""``AttentionMaps``: where on a map each object looks."""

from __future__ import annotations

from torch import Tensor, nn


class AttentionMaps(nn.Module):
    """The weights of an attention, without the values they would weigh (DETR, arXiv:2005.12872, section 4.4).

    The softmax runs over all cells of all heads together, so that heads compete as cells do.

    Args:
        embed_dims: C, of queries and keys.
        num_heads: H, a divisor of C.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or embed_dims % num_heads:
            raise ValueError(f'embed_dims {embed_dims} is no multiple of num_heads {num_heads}')
        self.num_heads = num_heads
        self.query_proj = nn.Linear(embed_dims, embed_dims)
        self.key_proj = nn.Linear(embed_dims, embed_dims)
        for layer in (self.query_proj, self.key_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, keys: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """The maps.

        Args:
            queries: ``(B, Q, C)``.
            keys: ``(B, S, C)``.
            padding_mask: ``(B, S)`` bool, True where there is nothing to look at.

        Returns:
            ``(B, Q, H, S)``, each query's H * S weights adding up to 1.
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
