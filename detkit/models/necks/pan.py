"""``PAN``: a path aggregation network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detkit.registry import NECKS
from detkit.utils.errors import ConfigError

from ..base_module import BaseModule
from ..layers import (
    Activation,
    ConvModule,
    build_block,
    build_downsample,
    per_position,
    scale_blocks,
    scale_channels,
    upsample_nearest,
)


@NECKS.register_module()
class PAN(BaseModule):
    """Neck that passes coarse features to the finer maps, then fine features back to the coarser maps.

    ::

        in[2] ──────┬───────────────────────────────── concat ── block ──► out[2]   coarse
                    ▼ [reduce] up 2x                      ▲ conv /2
        in[1] ── concat ── block ──┬──────── concat ── block ─┴──────────► out[1]
                                   ▼ [reduce]   ▲ conv /2
        in[0] ───────────────── concat ── block ┴────────────────────────► out[0]   fine

    (Liu et al., https://arxiv.org/abs/1803.01534, with concatenation and the blocks of YOLOv8, or with ``reduce=True``
    and ``block=dict(type='C3')`` of YOLOv5.)

    Args:
        in_channels: channels of the incoming maps, fine to coarse; any number of maps from 2.
        in_strides: their strides; each must be twice the one before it. Not checked when left out.
        out_channels: channels of the maps returned; ``in_channels`` when left out.
        num_blocks: bottlenecks of each block, before the depth factor.
        deepen_factor: multiplies ``num_blocks``.
        block: config of the blocks, built with ``in_channels, out_channels, num_blocks`` added; ``dict(type='C2f')``,
            which has no shortcuts, when left out. Or a list of one for each block, in the order in which they run: on
            the way up from the coarse maps, then on the way down from the fine ones.
        reduce: whether a 1x1 convolution brings a map to the finer one's ``out_channels`` before it is upsampled; the
            downward path then continues from its result.
        act: activation of every convolution, see ``ConvModule``; also passed to the blocks.
        linear_reduce: leave out the activation after the 1x1 convolutions of ``reduce``.
        depthwise: halve maps by ``SeparableConv`` instead of one convolution; the blocks have an argument of their own.
        downsample: config of the layers that halve maps, built with ``in_channels`` and ``out_channels`` added, or a
            list of one for each, fine to coarse; None, also in the list, for one 3x3 convolution. YOLOv10 has
            ``[None, dict(type='SCDown')]``, D-FINE ``dict(type='SCDown', act=None)``.
        fuse: how two maps are joined, 'concat' or 'sum'; a sum needs maps of equal channels.
        last_block: entries that the config of the coarsest returned map's block has instead, such as
            ``dict(inner='c3k')``.
        widen_factor, max_channels: scale ``out_channels`` as those of ``CSPDarknet``; None leaves them as they are.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: channels of the maps returned, whose strides are those of the maps that came in.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int] | None = None,
        out_channels: Sequence[int] | None = None,
        num_blocks: int = 3,
        deepen_factor: float = 1.0,
        block: dict | Sequence[dict] | None = None,
        reduce: bool = False,
        act: Activation = 'SiLU',
        linear_reduce: bool = False,
        depthwise: bool = False,
        fuse: str = 'concat',
        last_block: dict | None = None,
        widen_factor: float | None = None,
        max_channels: int | None = None,
        downsample: dict | Sequence[dict | None] | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) < 2:
            raise ValueError(f'PAN: needs at least 2 maps, in_channels is {tuple(in_channels)}')
        if in_strides is not None and any(b != 2 * a for a, b in zip(in_strides, in_strides[1:], strict=False)):
            raise ValueError(f'PAN: each stride must be twice the one before it, in_strides is {tuple(in_strides)}')
        outs = tuple(in_channels if out_channels is None else out_channels)
        if out_channels is not None and widen_factor is not None:
            outs = tuple(scale_channels(channels, widen_factor, max_channels) for channels in outs)
        if len(outs) != len(in_channels):
            raise ValueError(
                f'PAN: {len(outs)} out_channels for {len(in_channels)} maps'
                f'; write {len(in_channels)} numbers, or leave out_channels out to keep those that come in'
            )
        if fuse not in ('concat', 'sum'):
            raise ConfigError(f"PAN: fuse is {fuse!r}; it must be 'concat' or 'sum'")
        if depthwise and downsample is not None:
            raise ConfigError('PAN: depthwise and downsample are two ways to halve maps; give one of them')
        self.fuse = fuse
        num_blocks = scale_blocks(num_blocks, deepen_factor)
        steps = range(len(outs) - 1)  # step i joins levels i and i + 1
        *up, last = per_position(block or dict(type='C2f'), 2 * len(steps), 'PAN', 'block')
        up, down = up[: len(steps)][::-1], [*up[len(steps) :], {**last, **(last_block or {})}]

        def build(block: dict, first: int, second: int, after: int) -> nn.Module:
            if fuse == 'sum' and first != second:
                raise ConfigError(f"PAN: maps of {first} and {second} channels have no sum; use fuse='concat'")
            return build_block(block, first if fuse == 'sum' else first + second, after, num_blocks, act)

        # Channels of the map that step i upsamples: the coarsest is unchanged, the others have their out_channels.
        coarse = (*outs[1:-1], in_channels[-1])
        self.reduce_convs = nn.ModuleList(
            ConvModule(coarse[i], outs[i], 1, act=None if linear_reduce else act) for i in steps if reduce
        )
        if reduce:
            coarse = outs[:-1]
        self.up_blocks = nn.ModuleList(build(up[i], coarse[i], in_channels[i], outs[i]) for i in steps)
        halving = per_position(downsample, len(steps), 'PAN', 'downsample')
        self.down_convs = nn.ModuleList(build_downsample(halving[i], outs[i], outs[i], act, depthwise) for i in steps)
        self.down_blocks = nn.ModuleList(build(down[i], outs[i], coarse[i], outs[i + 1]) for i in steps)
        self.out_channels = outs

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return self._down(self._up(list(feats)))

    def _up(self, maps: list[Tensor], *context: Tensor | None) -> list[Tensor]:
        """Return the maps, coarse features passed to the finer ones; ``context`` goes to every block."""
        for i in reversed(range(len(self.up_blocks))):
            if self.reduce_convs:
                maps[i + 1] = self.reduce_convs[i](maps[i + 1])
            up = upsample_nearest(maps[i + 1], maps[i].shape[-2:])
            maps[i] = self.up_blocks[i](self._join(up, maps[i]), *context)
        return maps

    def _down(self, maps: list[Tensor], *context: Tensor | None) -> tuple[Tensor, ...]:
        """Return the maps, fine features passed to the coarser ones; ``context`` goes to every block."""
        for i, (conv, block) in enumerate(zip(self.down_convs, self.down_blocks, strict=True)):
            maps[i + 1] = block(self._join(conv(maps[i]), maps[i + 1]), *context)
        return tuple(maps)

    def _join(self, first: Tensor, second: Tensor) -> Tensor:
        return first + second if self.fuse == 'sum' else torch.cat((first, second), dim=1)
