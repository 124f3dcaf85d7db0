"""Self-attention over the cells of a map: ``PSABlock``, and ``C2PSA``, which passes half of the channels through it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.protocols import Block
from detkit.registry import LAYERS

from .conv_module import Activation, ConvModule

_HEAD_CHANNELS = 64


class CellAttention(nn.Module):
    """Multi-head self-attention over all cells of a map: ``(B, channels, H, W) -> (B, channels, H, W)``.

    A head has half as many channels for queries and for keys as for values (YOLOv10, https://arxiv.org/abs/2405.14458).
    A depthwise 3x3 convolution of the values, added to the result, tells cells their positions.

    Args:
        channels: shared by as many heads as divide them evenly, ``channels // 64`` at most, at least 1.
        norm: normalisation of the convolutions, see ``ConvModule``.
    """

    def __init__(self, channels: int, norm: str = 'BN') -> None:
        super().__init__()
        most = max(channels // _HEAD_CHANNELS, 1)
        self.num_heads = next(heads for heads in range(most, 0, -1) if channels % heads == 0)
        self.head_dims = channels // self.num_heads
        self.key_dims = self.head_dims // 2
        # The channels of a head: first its queries, then its keys, then its values.
        self.qkv = ConvModule(channels, channels + 2 * self.key_dims * self.num_heads, 1, act=None, norm=norm)
        self.position = ConvModule(channels, channels, 3, groups=channels, act=None, norm=norm)
        self.out_conv = ConvModule(channels, channels, 1, act=None, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        heads = self.qkv(x).flatten(2).unflatten(1, (self.num_heads, -1))  # (B, heads, 2 * key + head, H * W)
        query, key, value = heads.split((self.key_dims, self.key_dims, self.head_dims), dim=2)
        attended = F.scaled_dot_product_attention(*(part.transpose(2, 3) for part in (query, key, value)))

        def to_map(part: Tensor) -> Tensor:  # (B, heads, head, H * W) -> (B, channels, H, W)
            return part.flatten(1, 2).unflatten(-1, (height, width))

        return self.out_conv(to_map(attended.transpose(2, 3)) + self.position(to_map(value)))


class PSABlock(nn.Module):
    """Transformer layer of ``CellAttention`` and two 1x1 convolutions, each added to its input; keeps the shape.

    Args:
        channels: see ``CellAttention``.
        act, norm: activation and normalisation of the convolutions, see ``ConvModule``.
    """

    def __init__(self, channels: int, act: Activation = 'SiLU', norm: str = 'BN') -> None:
        super().__init__()
        self.attention = CellAttention(channels, norm)
        self.feedforward = nn.Sequential(
            ConvModule(channels, 2 * channels, 1, act=act, norm=norm),
            ConvModule(2 * channels, channels, 1, act=None, norm=norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.feedforward(x)


@LAYERS.register_module()
class C2PSA(nn.Module, Block):
    """Partial self-attention of YOLO11 (https://docs.ultralytics.com/models/yolo11; no paper).

    ::

        x ── 1x1 ─┬─ first half ─────────────────────────────┐
                  └─ second half ── PSABlock ── … ── PSABlock ┴ concat ── 1x1 ──

    Args:
        in_channels, out_channels: channels before and after.
        num_blocks: number of ``PSABlock``s.
        expansion: channels of a half, as a fraction of ``out_channels``.
        act, norm: activation and normalisation of the convolutions, see ``ConvModule``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int = 1,
        expansion: float = 0.5,
        act: Activation = 'SiLU',
        norm: str = 'BN',
    ) -> None:
        super().__init__()
        hidden = int(out_channels * expansion)
        self.in_conv = ConvModule(in_channels, 2 * hidden, 1, act=act, norm=norm)
        self.blocks = nn.Sequential(*(PSABlock(hidden, act, norm) for _ in range(num_blocks)))
        self.out_conv = ConvModule(2 * hidden, out_channels, 1, act=act, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.in_conv(x).chunk(2, dim=1)
        return self.out_conv(torch.cat((first, self.blocks(second)), dim=1))
