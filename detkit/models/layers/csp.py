"""Blocks of cross-stage partial networks: ``C2f`` and ``C2`` of YOLOv8, ``C3`` of YOLOv5, made of bottlenecks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from detkit.protocols import Block
from detkit.registry import LAYERS

from .conv_module import Activation, ConvModule, SeparableConv


class Bottleneck(nn.Module):
    """Two convolutions with an optional shortcut around both: ``(B, in, H, W) -> (B, out, H, W)``.

    Args:
        in_channels, out_channels: channels before and after.
        shortcut: add the input to the result (only where the channels agree).
        kernel_sizes: kernels of the two convolutions; (1, 3) is Darknet's residual block and that of C3.
        expansion: channels between the two, as a fraction of ``out_channels``.
        act, norm: activation and normalisation of the convolutions, see ``ConvModule``.
        depthwise: whether the second convolution is a ``SeparableConv``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        shortcut: bool = True,
        kernel_sizes: tuple[int, int] = (3, 3),
        expansion: float = 1.0,
        act: Activation = 'SiLU',
        norm: str = 'BN',
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        hidden = int(out_channels * expansion)
        self.conv1 = ConvModule(in_channels, hidden, kernel_sizes[0], act=act, norm=norm)
        conv = SeparableConv if depthwise else ConvModule
        self.conv2 = conv(hidden, out_channels, kernel_sizes[1], act=act, norm=norm)
        self.shortcut = shortcut and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y


class CSPBlock(nn.Module, Block):
    """Base of the stage blocks.

    Args:
        in_channels, out_channels: channels before and after.
        num_blocks: number of bottlenecks.
        shortcut: whether each bottleneck adds its input.
        expansion: channels of a bottleneck, as a fraction of ``out_channels``.
        act, norm: activation and normalisation of the convolutions, see ``ConvModule``.

    Attributes:
        kernel_sizes: kernels of the two convolutions of each bottleneck.
    """

    kernel_sizes: tuple[int, int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int = 1,
        shortcut: bool = False,
        expansion: float = 0.5,
        act: Activation = 'SiLU',
        norm: str = 'BN',
    ) -> None:
        super().__init__()
        hidden = int(out_channels * expansion)
        blocks = (self._inner_block(hidden, shortcut, act, norm) for _ in range(num_blocks))
        self._build(in_channels, hidden, out_channels, blocks, partial(ConvModule, act=act, norm=norm))

    def _inner_block(self, channels: int, shortcut: bool, act: Activation, norm: str) -> nn.Module:
        """Return one of the repeated blocks, which keep the number of channels."""
        return Bottleneck(channels, channels, shortcut, self.kernel_sizes, act=act, norm=norm)

    def _build(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        blocks: Iterator[nn.Module],
        conv: Callable[..., ConvModule],
    ) -> None:
        """Build the layers around the bottlenecks, which are made as they are taken from ``blocks``."""
        raise NotImplementedError


@LAYERS.register_module()
class C2f(CSPBlock):
    """YOLOv8's stage block, in which every bottleneck's output reaches the last convolution.

    ::

        x ── 1x1 ─┬─ first half ───────────────────────────────────┐
                  └─ second half ─┬────────────────────────────────┤
                                  └─ bottleneck ─┬─────────────────┤ concat ── 1x1 ──
                                                 └─ bottleneck ─ … ┘

    The arguments are those of ``CSPBlock``; a half has as many channels as a bottleneck.

    Attributes:
        extra_parts: parts of as many channels that a child joins beside these.
    """

    kernel_sizes = (3, 3)
    extra_parts: int = 0

    def _build(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        blocks: Iterator[nn.Module],
        conv: Callable[..., ConvModule],
    ) -> None:
        self.in_conv = conv(in_channels, 2 * hidden)
        self.blocks = nn.ModuleList(blocks)
        self.out_conv = conv((2 + len(self.blocks) + self.extra_parts) * hidden, out_channels)

    def parts(self, x: Tensor) -> list[Tensor]:
        """Return the two halves and the output of every bottleneck, which are joined."""
        parts = list(self.in_conv(x).chunk(2, dim=1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return parts

    def forward(self, x: Tensor) -> Tensor:
        return self.out_conv(torch.cat(self.parts(x), dim=1))


@LAYERS.register_module()
class C2(CSPBlock):
    """Stage block of YOLOv8's larger pyramid: half of the channels run through the bottlenecks, half past them.

    ::

        x ── 1x1 ─┬─ first half ── bottleneck ── … ── bottleneck ─┐
                  └─ second half ─────────────────────────────────┴ concat ── 1x1 ──

    The arguments are those of ``CSPBlock``; a half has as many channels as a bottleneck.
    """

    kernel_sizes = (3, 3)

    def _build(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        blocks: Iterator[nn.Module],
        conv: Callable[..., ConvModule],
    ) -> None:
        self.in_conv = conv(in_channels, 2 * hidden)
        self.blocks = nn.Sequential(*blocks)
        self.out_conv = conv(2 * hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.in_conv(x).chunk(2, dim=1)
        return self.out_conv(torch.cat((self.blocks(first), second), dim=1))


@LAYERS.register_module()
class C3(CSPBlock):
    """YOLOv5's stage block: half of the channels run through the bottlenecks, half past them.

    ::

        x ─┬─ 1x1 ── bottleneck ── … ── bottleneck ─┐
           └─ 1x1 ──────────────────────────────────┴ concat ── 1x1 ──

    (Wang et al., https://arxiv.org/abs/1911.11929, with three convolutions beside the bottlenecks.)

    Args:
        in_channels, out_channels, num_blocks, shortcut, expansion, act, norm: see ``CSPBlock``.
        depthwise: whether the 3x3 convolutions are depthwise ones with a 1x1 behind them, as in YOLOX-nano.
    """

    kernel_sizes = (1, 3)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int = 1,
        shortcut: bool = False,
        expansion: float = 0.5,
        act: Activation = 'SiLU',
        norm: str = 'BN',
        depthwise: bool = False,
    ) -> None:
        self.depthwise = depthwise
        super().__init__(in_channels, out_channels, num_blocks, shortcut, expansion, act, norm)

    def _inner_block(self, channels: int, shortcut: bool, act: Activation, norm: str) -> nn.Module:
        return Bottleneck(channels, channels, shortcut, self.kernel_sizes, act=act, norm=norm, depthwise=self.depthwise)

    def _build(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        blocks: Iterator[nn.Module],
        conv: Callable[..., ConvModule],
    ) -> None:
        self.main_conv = conv(in_channels, hidden)
        self.side_conv = conv(in_channels, hidden)
        self.blocks = nn.Sequential(*blocks)
        self.out_conv = conv(2 * hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_conv(torch.cat((self.blocks(self.main_conv(x)), self.side_conv(x)), dim=1))
