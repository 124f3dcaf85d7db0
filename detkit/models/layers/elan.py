"""``RepNCSPELAN4`` and ``SCDown``: D-FINE's block of the encoder, and how it halves maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detkit.protocols import Block, Downsample
from detkit.registry import LAYERS

from .conv_module import Activation, ConvModule
from .csp_rep import CSPRep


@LAYERS.register_module()
class RepNCSPELAN4(nn.Module, Block):
    """D-FINE's fusion block: YOLOv9's aggregation of layers (arXiv:2402.13616), made of ``CSPRep``.

    ::

        x ── 1x1 ─┬─ first half ────────────────────────────────────────────┐
                  └─ second half ─┬─────────────────────────────────────────┤
                                  └─ CSPRep ── 3x3 ─┬───────────────────────┤ concat ── 1x1 ──
                                                    └─ CSPRep ── 3x3 ───────┘

    Args:
        in_channels, out_channels: channels before and after; a half has ``out_channels``.
        num_blocks: number of ``RepVGGBlock``s in each ``CSPRep``.
        expansion: channels of a ``CSPRep``, as a fraction of half of ``out_channels``, rounded down.
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
        hidden = int(out_channels * expansion / 2)
        self.in_conv = ConvModule(in_channels, 2 * out_channels, 1, act=act)
        self.branches = nn.ModuleList(
            nn.Sequential(
                CSPRep(before, hidden, num_blocks, act=act),
                ConvModule(hidden, hidden, 3, act=act),
            )
            for before in (out_channels, hidden)
        )
        self.out_conv = ConvModule(2 * out_channels + 2 * hidden, out_channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.in_conv(x).chunk(2, dim=1))
        for branch in self.branches:
            parts.append(branch(parts[-1]))
        return self.out_conv(torch.cat(parts, dim=1))


@LAYERS.register_module()
class SCDown(nn.Sequential, Downsample):
    """A 1x1 convolution and a depthwise one of stride 2 (YOLOv10, arXiv:2405.14458), which halve a map.

    Args:
        in_channels, out_channels: channels before and after.
        act: activation of the first convolution, see ``ConvModule``; the second has none.
    """

    def __init__(self, in_channels: int, out_channels: int, act: Activation = 'SiLU') -> None:
        super().__init__(
            ConvModule(in_channels, out_channels, 1, act=act),
            ConvModule(out_channels, out_channels, 3, stride=2, groups=out_channels, act=None),
        )
