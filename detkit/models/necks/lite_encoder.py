"""``LiteEncoder``: the encoder of the smallest DEIMv2, which makes two maps of one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from detkit.registry import NECKS

from ..base_module import BaseModule
from ..layers import Activation, ConvModule, build_block, scale_blocks, upsample_nearest


@NECKS.register_module()
class LiteEncoder(BaseModule):
    """Neck of DEIMv2 Atto to Pico (arXiv:2509.20787), without attention.

    ::

        in ── 1x1 ─┬─────────────────────────────────── + ── block ─┬─────────────────────► out[0]
                   │                                    ▲ up 2x     ▼ average /2 ── 1x1
                   └─ average /2 ── 1x1 ── + mean ── 1x1 ────────── + ── block ───────────► out[1]

    The mean is that of the whole map. Of several incoming maps the last is taken.

    Args:
        in_channels, in_strides: those of the incoming maps; wired from the component before.
        out_channels: channels of both maps returned.
        num_blocks: of each block, before the depth factor.
        deepen_factor: multiplies ``num_blocks``.
        block: config of the blocks; ``dict(type='RepNCSPELAN4')`` when left out.
        act: activation of every convolution but the first, see ``ConvModule``; also passed to the blocks.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels, out_strides: of the two maps, the second of twice the incoming stride.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int] | None = None,
        out_channels: int = 112,
        num_blocks: int = 3,
        deepen_factor: float = 1.0,
        block: dict | None = None,
        act: Activation = 'SiLU',
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        block, num_blocks = block or dict(type='RepNCSPELAN4'), scale_blocks(num_blocks, deepen_factor)
        self.in_conv = ConvModule(in_channels[-1], out_channels, 1, act=None)
        self.down_convs = nn.ModuleList(ConvModule(out_channels, out_channels, 1, act=act) for _ in range(2))
        self.mean_conv = ConvModule(out_channels, out_channels, 1, act=act)
        self.blocks = nn.ModuleList(build_block(block, out_channels, out_channels, num_blocks, act) for _ in range(2))
        self.halve = nn.AvgPool2d(3, stride=2, padding=1)
        self.out_channels = (out_channels, out_channels)
        stride = in_strides[-1] if in_strides else 1
        self.out_strides = (stride, 2 * stride)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        fine = self.in_conv(feats[-1])
        coarse = self.down_convs[0](self.halve(fine))
        coarse = self.mean_conv(coarse + coarse.mean((2, 3), keepdim=True))
        fine = self.blocks[0](fine + upsample_nearest(coarse, fine.shape[-2:]))
        return fine, self.blocks[1](coarse + self.down_convs[1](self.halve(fine)))
