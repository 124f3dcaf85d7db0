"""``Darknet``: the backbone of YOLOv3 and YOLOv3-tiny."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from detkit.registry import BACKBONES
from detkit.utils.errors import ConfigError

from ..base_module import BaseModule
from ..layers import LEAKY_RELU, Activation, Bottleneck, ConvModule, scale_channels
from .pretrained import load_backbone, read_weights

# Channels of the stem and the stages, residual blocks of the stages (none in tiny), and the maps returned by default.
_DEPTHS = {
    53: ((32, 64, 128, 256, 512, 1024), (1, 2, 8, 8, 4), (3, 4, 5)),
    'tiny': ((16, 32, 64, 128, 256, 512), None, (4, 5)),
}


@BACKBONES.register_module()
class Darknet(BaseModule):
    """Backbone of a stem at full size and five stages that halve it (https://arxiv.org/abs/1804.02767).

    ::

        image ── stem /1 ── stage 1 /2 ── stage 2 /4 ── stage 3 /8 ── stage 4 /16 ── stage 5 /32
        index      0            1             2             3             4              5

    A stage of Darknet-53 is a strided 3x3 convolution and 1, 2, 8, 8 or 4 residual blocks (1x1 to half the channels,
    3x3 back). A stage of the tiny one is a pooling and a 3x3 convolution; its last stage also has a pooling that keeps
    the size and a second convolution, to 1024 channels.

    Args:
        depth: 53 or ``'tiny'``.
        widen_factor: multiplies every number of channels (then rounded up to a multiple of 8).
        in_channels: channels of the image.
        out_indices: which of stem (0) and stages (1, 2, …) are returned, (3, 4, 5) of Darknet-53 and (4, 5) of the tiny
            one when left out; stages after the last of them aren't built.
        act: activation of every convolution, see ``ConvModule``.
        weights: a checkpoint that ``detkit convert darknet`` made of ``darknet53.conv.74`` or of a whole detector;
            None for random weights. Read when weights are initialised, not when a checkpoint is to be loaded.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels, out_strides: of the maps returned, fine to coarse.

    Shapes: ``(B, in_channels, H, W)`` to a tuple of ``(B, out_channels[i], H / out_strides[i], W / out_strides[i])``.

    Raises:
        ConfigError: an argument is none of those above.
    """

    def __init__(
        self,
        depth: int | str = 53,
        widen_factor: float = 1.0,
        in_channels: int = 3,
        out_indices: Sequence[int] | None = None,
        act: Activation = LEAKY_RELU,
        weights: str | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if depth not in _DEPTHS:
            raise ConfigError(f'Darknet: depth is {depth!r}; it must be one of {", ".join(map(repr, _DEPTHS))}.')
        channels, blocks, default_indices = _DEPTHS[depth]
        indices = tuple(default_indices if out_indices is None else out_indices)
        if not indices or list(indices) != sorted(set(indices) & set(range(len(channels)))):
            raise ConfigError(f'Darknet: out_indices {indices} must ascend within 0 (stem) … {len(channels) - 1}.')
        widths = [scale_channels(c, widen_factor) for c in channels]
        self.depth = depth
        self.weights = weights
        self.out_indices = indices
        self.stem = ConvModule(in_channels, widths[0], 3, act=act)
        self.stages = nn.ModuleList()
        for index in range(indices[-1]):
            before, after = widths[index : index + 2]
            if blocks is not None:
                stage = nn.Sequential(ConvModule(before, after, 3, stride=2, act=act))
                stage.extend(
                    Bottleneck(after, after, kernel_sizes=(1, 3), expansion=0.5, act=act) for _ in range(blocks[index])
                )
            else:
                stage = nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), ConvModule(before, after, 3, act=act))
            self.stages.append(stage)
        if blocks is None and indices[-1] == len(channels) - 1:
            widths[-1] = scale_channels(2 * channels[-1], widen_factor)
            self.stages[-1].extend([SameMaxPool(), ConvModule(after, widths[-1], 3, act=act)])
        self.out_channels = tuple(widths[i] for i in indices)
        self.out_strides = tuple(2**i for i in indices)

    def init_weights(self) -> None:
        """Load ``weights``, if there are any; otherwise PyTorch's random initialisation stays."""
        super().init_weights()
        if self.weights is not None:
            load_backbone(self, read_weights(Path(self.weights)), self.weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = []
        for index, layer in enumerate((self.stem, *self.stages)):
            x = layer(x)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)


class SameMaxPool(nn.Module):
    """Max pooling of 2x2 pixels with stride 1, padded to the right and below so that the size stays."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float('-inf')), 2, stride=1)
