"""Position encodings of transformers: fixed sines, or learned."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn

from detkit.protocols import PositionEncoding
from detkit.registry import LAYERS
from detkit.utils.errors import ConfigError

from .plain_layers import rows_of_table


@LAYERS.register_module()
class SinePositionEncoding(nn.Module, PositionEncoding):
    """Encoding by sines and cosines of the row in one half of the channels and of the column in the other.

    Sines and cosines alternate, with wavelengths that grow from 2π to temperature * 2π (Vaswani et al.,
    arXiv:1706.03762, section 3.5; in two dimensions as in DETR, arXiv:2005.12872).

    Args:
        embed_dims: channels, a multiple of 4.
        temperature: ratio of the longest wavelength to the shortest.
        normalize: rows and columns run from 0 to ``scale`` over each image's own height and width, without its padding;
            otherwise they count cells.
        scale: see ``normalize``.
        eps: keeps the quotient of ``normalize`` finite.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        temperature: float = 10000.0,
        normalize: bool = True,
        scale: float = 2 * pi,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if embed_dims < 4 or embed_dims % 4:
            raise ValueError(f'SinePositionEncoding: embed_dims must be a multiple of 4, found {embed_dims}')
        if temperature <= 0:
            raise ValueError(f'SinePositionEncoding: temperature must be above 0, found {temperature}')
        self.embed_dims = embed_dims
        self.temperature = temperature
        self.normalize = normalize
        self.scale = scale
        self.eps = eps

    def forward(self, feats: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Return the encoding of a map.

        Args:
            feats: ``(B, channels, h, w)``, of which only size, type and device are used.
            padding_mask: ``(B, h, w)`` bool, True where padded; None for maps without padding.

        Returns:
            ``(B, embed_dims, h, w)``, or ``(1, embed_dims, h, w)`` without a mask, in the type of ``feats``.
        """
        if padding_mask is None:
            padding_mask = torch.zeros(1, *feats.shape[-2:], dtype=torch.bool, device=feats.device)
        dtype = torch.promote_types(feats.dtype, torch.float32)  # in half precision neighbouring cells would be equal
        inside = (~padding_mask).to(dtype)
        axes = [self._encode(inside.cumsum(dim), dim) for dim in (1, 2)]
        return torch.cat(axes, dim=-1).permute(0, 3, 1, 2).to(feats.dtype)  # (B, h, w, C) -> (B, C, h, w)

    def _encode(self, coordinates: Tensor, dim: int) -> Tensor:
        """Encode coordinates along ``dim``, counted from 1: ``(B, h, w)`` -> ``(B, h, w, embed_dims / 2)``."""
        if self.normalize:
            last = coordinates.narrow(dim, coordinates.shape[dim] - 1, 1)
            coordinates = coordinates / (last + self.eps) * self.scale
        pairs = torch.arange(self.embed_dims // 4, dtype=coordinates.dtype, device=coordinates.device)
        angles = coordinates.unsqueeze(-1) / self.temperature ** (pairs * 4 / self.embed_dims)  # (B, h, w, pairs)
        return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


@LAYERS.register_module()
class SinCosPositionEncoding(nn.Module, PositionEncoding):
    """Encoding by the sines of the row, its cosines, and then those of the column, a quarter of the channels each.

    Rows and columns count from 0; wavelengths grow from 2π to nearly temperature * 2π (MoCo v3, arXiv:2104.02057,
    section 5; as in RT-DETR). Nothing depends on the padding.

    Args:
        embed_dims: channels, a multiple of 4.
        temperature: ratio of the longest wavelength, were there one more, to the shortest.
    """

    def __init__(self, embed_dims: int = 256, temperature: float = 10000.0) -> None:
        super().__init__()
        if embed_dims < 4 or embed_dims % 4:
            raise ValueError(f'SinCosPositionEncoding: embed_dims must be a multiple of 4, found {embed_dims}')
        if temperature <= 0:
            raise ValueError(f'SinCosPositionEncoding: temperature must be above 0, found {temperature}')
        self.embed_dims = embed_dims
        self.temperature = temperature

    def forward(self, feats: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Return the encoding ``(1, embed_dims, h, w)`` of a map ``(B, channels, h, w)``; padding changes nothing."""
        height, width = feats.shape[-2:]
        # In half precision neighbouring cells would be equal.
        like = dict(dtype=torch.promote_types(feats.dtype, torch.float32), device=feats.device)
        quarter = self.embed_dims // 4
        frequencies = self.temperature ** (torch.arange(quarter, **like) / -quarter)
        rows = torch.arange(height, **like).unsqueeze(-1) * frequencies  # (h, C / 4)
        columns = torch.arange(width, **like).unsqueeze(-1) * frequencies  # (w, C / 4)
        rows = torch.cat((rows.sin(), rows.cos()), dim=-1).unsqueeze(1).expand(-1, width, -1)
        columns = torch.cat((columns.sin(), columns.cos()), dim=-1).expand(height, -1, -1)
        return torch.cat((rows, columns), dim=-1).permute(2, 0, 1).unsqueeze(0).to(feats.dtype)


@LAYERS.register_module()
class LearnedPositionEncoding(nn.Module, PositionEncoding):
    """Encoding by a learnt vector of the column in one half of the channels and of the row in the other.

    It is the alternative of DETR (arXiv:2005.12872, appendix).

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
        """Return the encoding ``(1, embed_dims, h, w)`` of a map ``(B, channels, h, w)``; padding changes nothing.

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
        columns = rows_of_table(self.column_embed, width).expand(height, -1, -1)  # (h, w, C / 2)
        rows = rows_of_table(self.row_embed, height).unsqueeze(1).expand(-1, width, -1)
        return torch.cat((columns, rows), dim=-1).permute(2, 0, 1).unsqueeze(0).to(feats.dtype)
