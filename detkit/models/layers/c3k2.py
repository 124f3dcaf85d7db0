"""Blocks of YOLO11 and YOLO26: ``C3k``, and ``C3k2``, whose inner blocks are bottlenecks, ``C3k`` or attention."""

from __future__ import annotations

from torch import nn

from detkit.registry import LAYERS
from detkit.utils.errors import ConfigError

from .conv_module import Activation
from .csp import C3, Bottleneck, C2f
from .psa import PSABlock

_INNER = ('bottleneck', 'c3k', 'attention')


@LAYERS.register_module()
class C3k(C3):
    """``C3`` whose bottlenecks have two 3x3 convolutions; the arguments are those of ``C3``."""

    kernel_sizes = (3, 3)


@LAYERS.register_module()
class C3k2(C2f):
    """``C2f`` of YOLO11 (https://docs.ultralytics.com/models/yolo11; no paper) with a choice of its inner blocks.

    Args:
        in_channels, out_channels: channels before and after.
        num_blocks: number of inner blocks.
        shortcut: whether each bottleneck adds its input.
        expansion: channels of an inner block, as a fraction of ``out_channels``.
        inner: ``'bottleneck'``, with half of its channels between its convolutions; ``'c3k'``, a ``C3k`` of two
            bottlenecks; or ``'attention'``, that bottleneck followed by a ``PSABlock``, as in YOLO26.
        act, norm: activation and normalisation of the convolutions, see ``ConvModule``.

    Raises:
        ConfigError: ``inner`` is none of these.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int = 1,
        shortcut: bool = True,
        expansion: float = 0.5,
        inner: str = 'bottleneck',
        act: Activation = 'SiLU',
        norm: str = 'BN',
    ) -> None:
        if inner not in _INNER:
            raise ConfigError(f'inner is {inner!r}; it must be one of {", ".join(map(repr, _INNER))}')
        self.inner = inner
        super().__init__(in_channels, out_channels, num_blocks, shortcut, expansion, act, norm)

    def _inner_block(self, channels: int, shortcut: bool, act: Activation, norm: str) -> nn.Module:
        if self.inner == 'c3k':
            return C3k(channels, channels, 2, shortcut, act=act, norm=norm)
        bottleneck = Bottleneck(channels, channels, shortcut, expansion=0.5, act=act, norm=norm)
        if self.inner == 'bottleneck':
            return bottleneck
        return nn.Sequential(bottleneck, PSABlock(channels, act, norm))
