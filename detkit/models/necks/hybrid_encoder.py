"""``HybridEncoder``: RT-DETR's encoder, attention inside coarse maps and convolutions between all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detkit.registry import NECKS
from detkit.utils.errors import ConfigError

from ..base_module import BaseModule
from ..layers import Activation, ConvModule
from ..layers.detr_transformer import EncoderLayer
from ..layers.position_encodings import SinCosPositionEncoding
from .pan import PAN


@NECKS.register_module()
class HybridEncoder(BaseModule):
    """Neck of RT-DETR (arXiv:2304.08069, section 4.2).

    ::

        feats[-1] ── 1x1 ── encoder layers ─┐
        feats[1]  ── 1x1 ───────────────────┤ PAN ── maps of equal channels
        feats[0]  ── 1x1 ───────────────────┘

    The encoder layers are the paper's attention-based intra-scale feature interaction, AIFI; ``PAN`` with blocks that
    can be re-parameterised (``CSPRep``) is its CNN-based cross-scale feature fusion, CCFF. Any number of maps will do;
    a single one has nothing to be fused with.

    Args:
        in_channels, in_strides: those of the incoming maps, fine to coarse.
        out_channels: channels of every map returned.
        encoder_levels: indices of the maps that have encoder layers.
        num_encoder_layers: encoder layers of each of them.
        num_heads, feedforward_dims, dropout, encoder_act: arguments of ``EncoderLayer``.
        num_blocks, deepen_factor, block, act, linear_reduce, downsample, fuse: arguments of ``PAN``; ``block`` is
            ``dict(type='CSPRep')`` when left out. D-FINE has ``dict(type='RepNCSPELAN4')``, ``linear_reduce`` and
            ``dict(type='SCDown', act=None)``, DEIMv2 also ``fuse='sum'``.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: channels of the maps returned, whose strides are those of the maps that came in.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int] | None = None,
        out_channels: int = 256,
        encoder_levels: Sequence[int] = (-1,),
        num_encoder_layers: int = 1,
        num_heads: int = 8,
        feedforward_dims: int = 1024,
        dropout: float = 0.0,
        encoder_act: Activation = 'GELU',
        num_blocks: int = 3,
        deepen_factor: float = 1.0,
        block: dict | None = None,
        act: Activation = 'SiLU',
        linear_reduce: bool = False,
        downsample: dict | Sequence[dict | None] | None = None,
        fuse: str = 'concat',
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        levels = range(len(in_channels))
        wrong = [level for level in encoder_levels if not -len(levels) <= level < len(levels)]
        if wrong:
            raise ConfigError(
                f'HybridEncoder: encoder_levels has {wrong[0]}, but there are {len(levels)} maps'
                '; write indices of them, 0 for the finest and -1 for the coarsest'
            )
        if len({levels[level] for level in encoder_levels}) < len(encoder_levels):
            raise ConfigError(
                f'HybridEncoder: encoder_levels {tuple(encoder_levels)} names a map twice; num_encoder_layers is the '
                'number of layers of a map'
            )
        self.in_convs = nn.ModuleList(ConvModule(width, out_channels, 1, act=None) for width in in_channels)
        self.position_encoding = SinCosPositionEncoding(out_channels)
        self.encoder_levels = tuple(levels[level] for level in encoder_levels)
        self.encoders = nn.ModuleList(
            nn.ModuleList(
                EncoderLayer(out_channels, num_heads, feedforward_dims, dropout, encoder_act)
                for _ in range(num_encoder_layers)
            )
            for _ in self.encoder_levels
        )
        channels = (out_channels,) * len(levels)
        block = block or dict(type='CSPRep')
        self.fusion: nn.Module = nn.Identity()
        if len(channels) > 1:
            self.fusion = PAN(
                channels,
                in_strides,
                None,
                num_blocks,
                deepen_factor,
                block,
                reduce=True,
                act=act,
                linear_reduce=linear_reduce,
                downsample=downsample,
                fuse=fuse,
            )
        self.out_channels = channels

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        maps = [conv(feat) for conv, feat in zip(self.in_convs, feats, strict=True)]
        for level, layers in zip(self.encoder_levels, self.encoders, strict=True):
            maps[level] = self._encode(maps[level], layers)
        return self.fusion(tuple(maps))

    def _encode(self, feat: Tensor, layers: nn.ModuleList) -> Tensor:
        positions = self.position_encoding(feat).flatten(2).transpose(1, 2)  # (1, C, h, w) -> (1, h * w, C)
        cells = feat.flatten(2).transpose(1, 2)
        for layer in layers:
            cells = layer(cells, positions, None)
        # Not unflatten, which an exporter gives the size of its example.
        encoded = cells.transpose(1, 2).reshape(feat.shape)  # (B, h * w, C) -> (B, C, h, w)
        return encoded.contiguous(memory_format=torch.channels_last)
