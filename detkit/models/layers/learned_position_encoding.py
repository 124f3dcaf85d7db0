"""``LearnedPositionEncoding``: a vector for each row and one for each column."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detkit.registry import LAYERS
from detkit.utils.errors import ConfigError


@LAYERS.register_module()
class LearnedPositionEncoding(nn.Module):
    """Half of the channels from the column's vector, half from the row's (DETR, arXiv:2005.12872, appendix).

    Args:
        embed_dims: channels, even.
        num_positions: rows and columns that have a vector, the most that a map may have.
    """

    def __init__(self, embed_dims: int = 256, num_positions: int = 50) -> None:
        super().__init__()
        if embed_dims < 2 or embed_dims % 2:
            raise ValueError(f'LearnedPositionEncoding: embed_dims must be even, found {embed_dims}')
        self.embed_dims = embed_dims
        self.num_positions = num_positions
        self.row_embed = nn.Embedding(num_positions, embed_dims // 2)
        self.column_embed = nn.Embedding(num_positions, embed_dims // 2)
        nn.init.uniform_(self.row_embed.weight)
        nn.init.uniform_(self.column_embed.weight)

    def forward(self, feats: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """The encoding of a map ``(B, channels, h, w)``, ``(1, embed_dims, h, w)``; padding changes nothing.

        Raises:
            ConfigError: the map has more rows or columns than ``num_positions``.
        """
        height, width = feats.shape[-2:]
        if max(height, width) > self.num_positions:
            raise ConfigError(
                f'LearnedPositionEncoding has {self.num_positions} positions, but the feature map is '
                f'{height} x {width}; set num_positions to at least {max(height, width)}, or use '
                'SinePositionEncoding, which needs no limit'
            )
        columns = self.column_embed.weight[:width].expand(height, -1, -1)  # (h, w, C / 2)
        rows = self.row_embed.weight[:height].unsqueeze(1).expand(-1, width, -1)
        return torch.cat((columns, rows), dim=-1).permute(2, 0, 1).unsqueeze(0).to(feats.dtype)
