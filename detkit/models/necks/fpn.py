"""``FPN``: a feature pyramid network."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from detkit.registry import NECKS
from detkit.utils.errors import ConfigError

from ..base_module import BaseModule
from ..layers.precision import full_precision, type_of_weights
from ..layers.winograd_conv import WinogradConv2d

# Where the convolutions of the added maps begin: the last map that comes in, or the last one that is returned.
_STARTS = ('on_input', 'on_output')


@NECKS.register_module()
class FPN(BaseModule):
    """Neck that passes coarse features to the finer maps, and adds coarser ones (Lin et al., arXiv:1612.03144).

    ::

        in[2] ── 1x1 ──┬──────────── 3x3 ──► out[2] ── subsampled, or conv /2 ──► out[3] ── ReLU, conv /2 ──► out[4]
                       ▼ up
        in[1] ── 1x1 ─ + ┬────────── 3x3 ──► out[1]
                         ▼ up
        in[0] ── 1x1 ─── + ───────── 3x3 ──► out[0]   fine

    Args:
        in_channels, in_strides: those of the incoming maps, fine to coarse; any number of maps. Strides are doubled for
            each map that is added; left out, the neck states none, and then it may add none.
        out_channels: channels of every map returned.
        num_outs: maps returned; None for as many as come in.
        add_extra_convs: how the maps beyond the incoming ones are made: False takes every second cell of the map before
            (Faster R-CNN); ``'on_input'`` and ``'on_output'`` apply convolutions of stride 2, the first one to the last
            map that comes in or to the last one that is made of these (RetinaNet's P6 and P7, arXiv:1708.02002; FCOS,
            arXiv:1904.01355), with a ReLU before each but the first.
        norm: ``'bn'`` normalises after the convolutions of the incoming maps, which then have no bias; None does not.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels, out_strides: of the maps returned, fine to coarse.

    Raises:
        ConfigError: an argument is none of those above.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int] | None = None,
        out_channels: int = 256,
        num_outs: int | None = None,
        add_extra_convs: bool | str = False,
        norm: str | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        num_ins = len(in_channels)
        num_outs = num_ins if num_outs is None else num_outs
        if num_outs < num_ins:
            raise ConfigError(
                f'FPN: num_outs is {num_outs}, but {num_ins} maps come in; return fewer maps from the backbone '
                '(out_indices), or more from the neck'
            )
        if add_extra_convs not in (False, *_STARTS):
            raise ConfigError(
                f"FPN: add_extra_convs is {add_extra_convs!r}; it must be False, 'on_input' or 'on_output'"
            )
        if norm not in (None, 'bn'):
            raise ConfigError(f"FPN: norm is {norm!r}; it must be 'bn' or None")
        if in_strides is None and num_outs > num_ins:
            raise ConfigError('FPN: num_outs adds maps, so that in_strides must be known; a detector fills it in')
        self.add_extra_convs = add_extra_convs
        self.num_extra = num_outs - num_ins
        self.out_channels = (out_channels,) * num_outs
        if in_strides is not None:
            strides = list(in_strides)
            for _ in range(self.num_extra):
                strides.append(2 * strides[-1])
            self.out_strides = tuple(strides)
        self.lateral_convs = nn.ModuleList(_conv(width, out_channels, 1, norm) for width in in_channels)
        self.fpn_convs = nn.ModuleList(_conv(out_channels, out_channels, 3, norm) for _ in in_channels)
        self.extra_convs = nn.ModuleList()
        for index in range(self.num_extra if add_extra_convs else 0):
            before = in_channels[-1] if index == 0 and add_extra_convs == 'on_input' else out_channels
            self.extra_convs.append(nn.Conv2d(before, out_channels, 3, 2, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return maps ``(B, out_channels, h, w)``, fine to coarse; an added one has half the cells, rounded up."""
        x = self.lateral_convs[-1](feats[-1])
        outputs = [self.fpn_convs[-1](x)]
        for level in range(len(feats) - 2, -1, -1):
            lateral = self.lateral_convs[level](feats[level])
            x = lateral + F.interpolate(x, size=lateral.shape[-2:], mode='nearest')
            outputs.insert(0, self.fpn_convs[level](x))
        if not self.add_extra_convs:
            for _ in range(self.num_extra):
                outputs.append(outputs[-1][..., ::2, ::2])
            return tuple(outputs)
        x = feats[-1] if self.add_extra_convs == 'on_input' else outputs[-1]
        for index, conv in enumerate(self.extra_convs):
            x = _halve(conv, x.relu() if index else x)
            outputs.append(x)
        return tuple(outputs)


def _halve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return ``conv(x)``; while training, a map of one column is convolved in float32, which costs nothing.

    On a CPU (oneDNN, as in PyTorch 2.14) the gradient in bfloat16 of the weights of a convolution with a stride, whose
    input is one cell wide, holds what was in memory before where kernel and map do not meet.
    """
    if not conv.training or x.shape[-1] > 1:
        return conv(x)
    with full_precision(x):
        return conv(x.to(type_of_weights(conv)))


def _conv(in_channels: int, out_channels: int, kernel_size: int, norm: str | None) -> nn.Sequential:
    """Return a convolution that keeps the size, and normalisation behind it."""
    if kernel_size == 3 and norm is None:
        return nn.Sequential(WinogradConv2d(in_channels, out_channels))
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=norm is None)
    return nn.Sequential(conv, *([] if norm is None else [nn.BatchNorm2d(out_channels)]))
