"""``LastBlock``: a block on the coarsest feature map."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from detkit.registry import NECKS

from ..base_module import BaseModule
from ..layers import Activation, build_block, scale_blocks


@NECKS.register_module()
class LastBlock(BaseModule):
    """Neck that applies a block to the last of the feature maps and returns the others unchanged.

    YOLOv5 up to 5.0 has one after its pyramid pooling: ``neck=[SPP, LastBlock, PAN]``.

    Args:
        in_channels: channels of the incoming maps, fine to coarse.
        num_blocks: bottlenecks of the block, before the depth factor.
        deepen_factor: multiplies ``num_blocks``.
        block: config of the block, built with ``in_channels, out_channels, num_blocks`` added; ``dict(type='C3')``,
            which has no shortcuts, when left out.
        act: activation passed to the block, see ``ConvModule``.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: channels of the returned maps, which are those of the incoming maps.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_blocks: int = 3,
        deepen_factor: float = 1.0,
        block: dict | None = None,
        act: Activation = 'SiLU',
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        last, num_blocks = in_channels[-1], scale_blocks(num_blocks, deepen_factor)
        self.block = build_block(block or dict(type='C3'), last, last, num_blocks, act)
        self.out_channels = tuple(in_channels)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (*feats[:-1], self.block(feats[-1]))
