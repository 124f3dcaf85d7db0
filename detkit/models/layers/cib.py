"""YOLOv10's blocks of depthwise convolutions: ``CIB``, and ``C2fCIB``, whose inner blocks they are."""

from __future__ import annotations

from torch import Tensor, nn

from detkit.registry import LAYERS

from .conv_module import Activation, ConvModule, build_activation
from .csp import C2f
from .csp_rep import MergingConvs


class LargeKernelConv(MergingConvs):
    """A depthwise 7x7 and a depthwise 3x3 convolution side by side (YOLOv10, https://arxiv.org/abs/2405.14458).

    Args:
        channels: channels before and after.
        act: activation of the sum, see ``ConvModule``.
        norm: normalisation of both, see ``ConvModule``.
    """

    large, small = 'branch7', 'branch3'

    def __init__(self, channels: int, act: Activation = 'SiLU', norm: str = 'BN') -> None:
        super().__init__()
        self.branch7 = ConvModule(channels, channels, 7, groups=channels, act=None, norm=norm)
        self.branch3 = ConvModule(channels, channels, 3, groups=channels, act=None, norm=norm)
        self.act = build_activation(act)


class CIB(nn.Sequential):
    """Compact inverted block: ``(B, channels, H, W) -> (B, channels, H, W)`` (arXiv:2405.14458, figure 3b).

    ::

        x ─┬─ depthwise 3x3 ── 1x1, 2x channels ── depthwise ── 1x1 ── depthwise 3x3 ─┬─ [+] ──
           └──────────────────────────────────────────────────────────────────────────┘

    Args:
        channels: channels before and after.
        shortcut: add the input to the result.
        large_kernel: whether the convolution in the middle is a ``LargeKernelConv`` instead of a 3x3 one.
        act, norm: activation and normalisation of the convolutions, see ``ConvModule``.
    """

    def __init__(
        self,
        channels: int,
        shortcut: bool = True,
        large_kernel: bool = False,
        act: Activation = 'SiLU',
        norm: str = 'BN',
    ) -> None:
        inner = 2 * channels

        def depthwise(width: int) -> ConvModule:
            return ConvModule(width, width, 3, groups=width, act=act, norm=norm)

        super().__init__(
            depthwise(channels),
            ConvModule(channels, inner, 1, act=act, norm=norm),
            LargeKernelConv(inner, act, norm) if large_kernel else depthwise(inner),
            ConvModule(inner, channels, 1, act=act, norm=norm),
            depthwise(channels),
        )
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return x + y if self.shortcut else y


@LAYERS.register_module()
class C2fCIB(C2f):
    """``C2f`` of YOLOv10 (https://arxiv.org/abs/2405.14458), whose inner blocks are ``CIB``s.

    Args:
        in_channels, out_channels: channels before and after.
        num_blocks: number of ``CIB``s.
        shortcut: whether each of them adds its input.
        expansion: channels of a ``CIB``, as a fraction of ``out_channels``.
        large_kernel: whether each has a depthwise 7x7 convolution, see ``CIB``.
        act, norm: activation and normalisation of the convolutions, see ``ConvModule``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int = 1,
        shortcut: bool = True,
        expansion: float = 0.5,
        large_kernel: bool = False,
        act: Activation = 'SiLU',
        norm: str = 'BN',
    ) -> None:
        self.large_kernel = large_kernel
        super().__init__(in_channels, out_channels, num_blocks, shortcut, expansion, act, norm)

    def _inner_block(self, channels: int, shortcut: bool, act: Activation, norm: str) -> nn.Module:
        return CIB(channels, shortcut, self.large_kernel, act, norm)
