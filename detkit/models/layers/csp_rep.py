"""Convolutions side by side that become one to predict, and ``CSPRep``, RT-DETR's block of them."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from detkit.protocols import Block
from detkit.registry import LAYERS

from .conv_module import Activation, ConvModule, build_activation
from .norm_silu import has_hooks
from .packed import norm_activated, passes_on
from .plain_layers import is_plain_layer


class MergingConvs(nn.Module):
    """Base of two convolutions side by side, which become one to predict (RepVGG, arXiv:2101.03697).

    Attributes:
        large, small: names of the two ``ConvModule``s, whose kernels have odd sizes; ``small`` is None once merged.
        act: activation of their sum.
    """

    large: ClassVar[str]
    small: ClassVar[str]
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        large, small = getattr(self, self.large), getattr(self, self.small)
        if small is None and isinstance(large, ConvModule) and not has_hooks(large) and passes_on(large.act):
            return norm_activated(large.conv, large.bn, self.act, x)
        y = large(x)
        return self.act(y if small is None else y + small(x))

    def merge_branches(self) -> None:
        """Add the smaller kernel to the larger one, if the normalisation of each has been fused with it."""
        large, small = getattr(self, self.large), getattr(self, self.small)
        if small is None or has_hooks(small) or not (_is_one_conv(large) and _is_one_conv(small)):
            return
        border = (large.conv.kernel_size[0] - small.conv.kernel_size[0]) // 2
        large.conv.weight.data += F.pad(small.conv.weight.data, (border,) * 4)
        large.conv.bias.data += small.conv.bias.data
        setattr(self, self.small, None)


def _is_one_conv(branch: nn.Module) -> bool:
    """Return whether a branch is a convolution whose normalisation has been fused with it; an adapter is none."""
    if not isinstance(branch, ConvModule) or not passes_on(branch.bn):
        return False
    return is_plain_layer(branch.conv, nn.Conv2d) and branch.conv.bias is not None


class RepVGGBlock(MergingConvs):
    """A 3x3 and a 1x1 convolution side by side.

    Args:
        channels: channels before and after; there is no shortcut.
        act: activation of the sum, see ``ConvModule``.
    """

    large, small = 'branch3', 'branch1'

    def __init__(self, channels: int, act: Activation = 'SiLU') -> None:
        super().__init__()
        self.branch3 = ConvModule(channels, channels, 3, act=None)
        self.branch1 = ConvModule(channels, channels, 1, act=None)
        self.act = build_activation(act)


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
