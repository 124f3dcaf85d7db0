"""``CSPRep``: RT-DETR's block of re-parameterised convolutions."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from detkit.protocols import Block
from detkit.registry import LAYERS

from .conv_module import Activation, ConvModule, build_activation


class RepVGGBlock(nn.Module):
    """A 3x3 and a 1x1 convolution side by side, which become one to predict (RepVGG, arXiv:2101.03697).

    Args:
        channels: channels before and after; there is no shortcut.
        act: activation of the sum, see ``ConvModule``.
    """

    def __init__(self, channels: int, act: Activation = 'SiLU') -> None:
        super().__init__()
        self.branch3: ConvModule = ConvModule(channels, channels, 3, act=None)
        self.branch1: ConvModule | None = ConvModule(channels, channels, 1, act=None)
        self.act = build_activation(act)

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch3(x)
        return self.act(y if self.branch1 is None else y + self.branch1(x))

    def merge_branches(self) -> None:
        """Add the 1x1 convolution to the 3x3 one, if the normalisation of each has been fused with it."""
        if self.branch1 is None or None in (self.branch3.conv.bias, self.branch1.conv.bias):
            return
        large, small = self.branch3.conv, self.branch1.conv
        large.weight.data += F.pad(small.weight.data, (1, 1, 1, 1))
        large.bias.data += small.bias.data
        self.branch1 = None


@LAYERS.register_module()
class CSPRep(nn.Module, Block):
    """RT-DETR's fusion block: ``(B, in, H, W) -> (B, out, H, W)`` (arXiv:2304.08069, figure 4).

    ::

        x ─┬─ 1x1 ── RepVGG blocks ─┐
           └─ 1x1 ──────────────────┴ + ── 1x1 (where the channels differ) ──

    Args:
        in_channels, out_channels: channels before and after.
        num_blocks: number of ``RepVGGBlock``s.
        expansion: channels between, as a fraction of ``out_channels``.
        act: activation of the convolutions, see ``ConvModule``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int = 3,
        expansion: float = 1.0,
        act: Activation = 'SiLU',
    ) -> None:
        super().__init__()
        hidden = int(out_channels * expansion)
        self.conv1 = ConvModule(in_channels, hidden, 1, act=act)
        self.conv2 = ConvModule(in_channels, hidden, 1, act=act)
        self.blocks = nn.Sequential(*(RepVGGBlock(hidden, act) for _ in range(num_blocks)))
        self.conv3 = nn.Identity() if hidden == out_channels else ConvModule(hidden, out_channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(self.blocks(self.conv1(x)) + self.conv2(x))
