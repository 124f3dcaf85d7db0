"""``SPP``: spatial pyramid pooling on the coarsest feature map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.registry import NECKS

from ..base_module import BaseModule
from ..layers import Activation, ConvModule


@NECKS.register_module()
class SPP(BaseModule):
    """Neck that concatenates max-pools of the last feature map with the map, and returns the others unchanged.

    ::

        x ── 1x1 ─┬───────────────────────────────────────────┐
                  └─ pool 5 ─┬────────────────────────────────┤
                             └─ pool 5 (= 9) ─┬───────────────┤ concat ── 1x1 ──
                                              └─ pool 5 (= 13)┘

    Two poolings of 5 equal a pooling of 9. A chain of small pools therefore gives the numbers of the parallel pools of
    the paper (He et al., https://arxiv.org/abs/1406.4729, as in YOLOv3-SPP), and is faster.

    Args:
        in_channels: channels of the incoming maps, fine to coarse.
        kernel_sizes: the pools' sizes, odd and ascending.
        out_channels: channels of the last map returned; those of the last incoming map when left out.
        act: activation of the convolutions, see ``ConvModule``.
        linear_in: leave out the activation after the first convolution.
        shortcut: add the incoming map to the result, as YOLO26 does; needs as many channels.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: channels of the maps returned.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        kernel_sizes: Sequence[int] = (5, 9, 13),
        out_channels: int | None = None,
        act: Activation = 'SiLU',
        linear_in: bool = False,
        shortcut: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if any(k % 2 == 0 or k < 3 for k in kernel_sizes) or list(kernel_sizes) != sorted(set(kernel_sizes)):
            raise ValueError(f'SPP: kernel_sizes {tuple(kernel_sizes)} must be odd, at least 3 and ascending')
        last = in_channels[-1]
        hidden = last // 2
        out_channels = last if out_channels is None else out_channels
        if shortcut and out_channels != last:
            raise ValueError(f'SPP: a shortcut needs out_channels {last}, as the incoming map has, not {out_channels}')
        self.in_conv = ConvModule(last, hidden, 1, act=None if linear_in else act)
        self.out_conv = ConvModule(hidden * (1 + len(kernel_sizes)), out_channels, 1, act=act)
        self.shortcut = shortcut
        self.kernel_sizes = tuple(kernel_sizes)
        # A pool of size a followed by a pool of size b equals a pool of size a + b - 1.
        self.chain = tuple(k - before + 1 for before, k in zip((1, *kernel_sizes), kernel_sizes, strict=False))
        self.out_channels = (*in_channels[:-1], out_channels)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        parts = [self.in_conv(feats[-1])]
        for kernel_size in self.chain:
            parts.append(F.max_pool2d(parts[-1], kernel_size, stride=1, padding=kernel_size // 2))
        pooled = self.out_conv(torch.cat(parts, dim=1))
        return (*feats[:-1], feats[-1] + pooled if self.shortcut else pooled)
