"""``YOLOv3Neck``: passes coarse features to the finer maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detkit.registry import NECKS
from detkit.utils.errors import ConfigError

from ..base_module import BaseModule
from ..layers import LEAKY_RELU, Activation, ConvModule, upsample_nearest


@NECKS.register_module()
class YOLOv3Neck(BaseModule):
    """Neck with a set of convolutions at each level, whose output is passed to the finer level and convolved again.

    ::

        in[2] ────────────── set ─┬─ 3x3 ──► out[2]   coarse
                    up 2x ── 1x1 ─┘
        in[1] ── concat ──── set ─┬─ 3x3 ──► out[1]
                    up 2x ── 1x1 ─┘
        in[0] ── concat ──── set ─── 3x3 ──► out[0]   fine

    A set alternates 1x1 convolutions to half of the level's ``out_channels`` and 3x3 ones to all of them; it begins and
    ends with a 1x1. In YOLOv3-SPP the middle 1x1 of the coarsest set is an ``SPP``.
    (Redmon and Farhadi, https://arxiv.org/abs/1804.02767; SPP: https://arxiv.org/abs/1903.08589.)

    Args:
        in_channels: channels of the incoming maps, fine to coarse; any number of maps.
        in_strides: their strides; each must be twice the one before it. Not checked when left out.
        out_channels: channels of the maps returned; ``in_channels`` when left out.
        num_convs: convolutions of each set, odd, or 0 for no set; one number for each level, or one for all.
        final_conv: whether a 3x3 convolution follows each set; without it a returned map has the channels of the set's
            last convolution, half of the level's ``out_channels``, as in YOLOX on Darknet-53.
        spp: config of a part such as ``dict(type='SPP')`` that replaces the middle 1x1 convolution of the coarsest
            set, built with ``in_channels, out_channels, act`` added; None for none.
        act: activation of every convolution, see ``ConvModule``.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels: channels of the maps returned, whose strides are those of the maps that came in.

    Raises:
        ConfigError: the arguments do not fit each other.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int] | None = None,
        out_channels: Sequence[int] | None = None,
        num_convs: int | Sequence[int] = 5,
        final_conv: bool = True,
        spp: dict | None = None,
        act: Activation = LEAKY_RELU,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        outs = tuple(in_channels if out_channels is None else out_channels)
        counts = (num_convs,) * len(outs) if isinstance(num_convs, int) else tuple(num_convs)
        if not len(in_channels) == len(outs) == len(counts):
            raise ConfigError(
                f'YOLOv3Neck: {len(in_channels)} maps come in, but there are {len(outs)} out_channels '
                f'and {len(counts)} num_convs'
                '; write as many numbers as maps, or leave both out'
            )
        if in_strides is not None and any(b != 2 * a for a, b in zip(in_strides, in_strides[1:], strict=False)):
            raise ConfigError(
                f'YOLOv3Neck: each stride must be twice the one before it, in_strides is {tuple(in_strides)}.'
            )
        if any(count < 0 or (count and count % 2 == 0) for count in counts):
            raise ConfigError(f'YOLOv3Neck: num_convs is {num_convs}; a set has an odd number of convolutions, or 0.')
        if spp is not None and counts[-1] % 4 != 1:
            raise ConfigError(
                f'YOLOv3Neck: the coarsest set has {counts[-1]} convolutions, of which the middle one is '
                'no 1x1 that spp could replace; num_convs=5 has one.'
            )
        last = len(outs) - 1
        returned = []
        self.sets, self.out_convs, self.up_convs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, (out, count) in enumerate(zip(outs, counts, strict=True)):
            half = out // 2
            current = in_channels[level] + (half if level < last else 0)
            convs = nn.Sequential()
            for index in range(count):
                after = out if index % 2 else half
                if spp is not None and level == last and index == count // 2:
                    convs.append(NECKS.build({'in_channels': (current,), 'out_channels': after, 'act': act, **spp}))
                else:
                    convs.append(ConvModule(current, after, 3 if index % 2 else 1, act=act))
                current = after
            self.sets.append(convs)
            self.out_convs.append(ConvModule(current, out, 3, act=act) if final_conv else nn.Identity())
            returned.append(out if final_conv else current)
            if level > 0:
                self.up_convs.append(ConvModule(current, outs[level - 1] // 2, 1, act=act))
        self.out_channels = tuple(returned)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        outputs, x = [], feats[-1]
        for level in reversed(range(len(feats))):
            for layer in self.sets[level]:
                x = layer(x) if isinstance(layer, ConvModule) else layer((x,))[-1]  # a neck takes a tuple of maps
            outputs.append(self.out_convs[level](x))
            if level > 0:
                up = upsample_nearest(self.up_convs[level - 1](x), feats[level - 1].shape[-2:])
                x = torch.cat((up, feats[level - 1]), dim=1)
        return tuple(reversed(outputs))
