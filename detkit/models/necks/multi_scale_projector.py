"""``MultiScaleProjector``: maps of a vision transformer, all of one stride, as one map or a pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import torch
from torch import Tensor, nn

from detkit.registry import NECKS
from detkit.utils.errors import ConfigError

from ..base_module import BaseModule
from ..layers import Activation, BlockDeconv2d, ConvModule, LayerNorm2d, build_block, scale_blocks


@NECKS.register_module()
class MultiScaleProjector(BaseModule):
    """Neck that brings all maps to each stride, concatenates them and runs a block (LW-DETR, arXiv:2406.03459).

    ::

        in[0] ── up or down ─┐
        in[1] ── up or down ─┼─ concat ── block ── normalisation ──► out, for each stride
        in[2] ── up or down ─┘

    Args:
        in_channels, in_strides: those of the incoming maps, in any order; wired from the component before.
        out_channels: channels of every map returned.
        out_strides: strides of the maps returned, fine to coarse, each a power of 2 times or part of the incoming ones;
            by default the incoming strides, each once, which for a vision transformer is one.
        num_blocks: bottlenecks of each block, before the depth factor.
        deepen_factor: multiplies ``num_blocks``.
        block: config of the blocks; when left out ``dict(type='C2f', norm='LN')``, which normalises the channels of
            each cell.
        act: activation of every convolution, see ``ConvModule``; also passed to the blocks.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels, out_strides: of the maps returned.

    Raises:
        ConfigError: an incoming stride cannot be brought to one of ``out_strides``, or these do not ascend.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int] | None = None,
        out_channels: int = 256,
        out_strides: Sequence[int] | None = None,
        num_blocks: int = 3,
        deepen_factor: float = 1.0,
        block: dict | None = None,
        act: Activation = 'SiLU',
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        in_strides = tuple(in_strides or (1,) * len(in_channels))
        self.out_strides = tuple(out_strides or sorted(set(in_strides)))
        if min(self.out_strides) < 1 or list(self.out_strides) != sorted(set(self.out_strides)):
            raise ConfigError(
                f'MultiScaleProjector: out_strides must ascend and be at least 1, found {self.out_strides}'
            )
        self.out_channels = (out_channels,) * len(self.out_strides)
        block, num_blocks = block or dict(type='C2f', norm='LN'), scale_blocks(num_blocks, deepen_factor)
        self.resizes, self.blocks, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for out_stride in self.out_strides:
            resizes = nn.ModuleList()
            total = 0
            for channels, in_stride in zip(in_channels, in_strides, strict=True):
                steps = log2(in_stride / out_stride)
                if steps != int(steps):
                    raise ConfigError(
                        f'MultiScaleProjector: a map of stride {in_stride} cannot be brought to stride {out_stride}; '
                        'one must be a power of 2 times the other'
                    )
                resizes.append(_resize(channels, int(steps), act))
                total += channels >> max(int(steps), 0)
            self.resizes.append(resizes)
            self.blocks.append(build_block(block, total, out_channels, num_blocks, act))
            self.norms.append(LayerNorm2d(out_channels))

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        outputs = []
        for resizes, block, norm in zip(self.resizes, self.blocks, self.norms, strict=True):
            resized = [resize(feat) for resize, feat in zip(resizes, feats, strict=True)]
            # Odd sizes of images differ by a cell between the ways up and down.
            height, width = (min(feat.shape[axis] for feat in resized) for axis in (-2, -1))
            resized = [feat[..., :height, :width] for feat in resized]
            outputs.append(norm(block(torch.cat(resized, dim=1))))
        return tuple(outputs)


def _resize(channels: int, steps: int, act: Activation) -> nn.Sequential:
    """Return layers that double a map ``steps`` times, with half the channels each, or halve it ``-steps`` times."""
    layers: list[nn.Module] = []
    for step in range(steps):
        if step:
            layers += [LayerNorm2d(channels), nn.GELU()]
        layers.append(BlockDeconv2d(channels, channels // 2))
        channels //= 2
    layers += [ConvModule(channels, channels, 3, stride=2, act=act, norm='LN') for _ in range(-steps)]
    return nn.Sequential(*layers)
