"""``C3``: the cross-stage-partial block of YOLOv5."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detkit.registry import LAYERS

from .bottleneck import Bottleneck
from .conv_module import ConvModule


@LAYERS.register_module()
class C3(nn.Module):
    """YOLOv5's stage block: half of the channels run through the bottlenecks, half past them.

    ::

        x ─┬─ 1x1 ── bottleneck ── … ── bottleneck ─┐
           └─ 1x1 ──────────────────────────────────┴ concat ── 1x1 ──

    (Wang et al., https://arxiv.org/abs/1911.11929, with three convolutions beside the bottlenecks.)

    Args:
        in_channels, out_channels: channels before and after.
        num_blocks: how many bottlenecks, of a 1x1 and a 3x3 convolution each.
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
        self.main_conv = ConvModule(in_channels, hidden, 1, act=act)
        self.side_conv = ConvModule(in_channels, hidden, 1, act=act)
        self.blocks = nn.Sequential(
            *(Bottleneck(hidden, hidden, shortcut, kernel_sizes=(1, 3), act=act) for _ in range(num_blocks))
        )
        self.out_conv = ConvModule(2 * hidden, out_channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_conv(torch.cat((self.blocks(self.main_conv(x)), self.side_conv(x)), dim=1))
