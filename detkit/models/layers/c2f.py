"""``C2f``: the cross-stage-partial block of YOLOv8."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detkit.registry import LAYERS

from .bottleneck import Bottleneck
from .conv_module import ConvModule


@LAYERS.register_module()
class C2f(nn.Module):
    """YOLOv8's stage block, in which every bottleneck's output reaches the last convolution.

    ::

        x ── 1x1 ─┬─ first half ───────────────────────────────────┐
                  └─ second half ─┬────────────────────────────────┤
                                  └─ bottleneck ─┬─────────────────┤ concat ── 1x1 ──
                                                 └─ bottleneck ─ … ┘

    Args:
        in_channels, out_channels: channels before and after.
        num_blocks: how many bottlenecks.
        shortcut: whether each bottleneck adds its input.
        expansion: channels of a half, and of a bottleneck, as a fraction of ``out_channels``.
        act: activation of the convolutions, see ``ConvModule``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int = 1,
        shortcut: bool = False,
        expansion: float = 0.5,
        act: nn.Module | str | dict | None = 'SiLU',
    ) -> None:
        super().__init__()
        hidden = int(out_channels * expansion)
        self.in_conv = ConvModule(in_channels, 2 * hidden, 1, act=act)
        self.blocks = nn.ModuleList(Bottleneck(hidden, hidden, shortcut, act=act) for _ in range(num_blocks))
        self.out_conv = ConvModule((2 + num_blocks) * hidden, out_channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.in_conv(x).chunk(2, dim=1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.out_conv(torch.cat(parts, dim=1))
