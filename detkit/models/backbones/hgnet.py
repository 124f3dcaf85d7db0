"""``HGNetV2``: the backbone of D-FINE and DEIM, and one of RT-DETR's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.models.layers.packed import norm_activated
from detkit.models.layers.plain_tensors import is_plain
from detkit.registry import BACKBONES
from detkit.utils.errors import ConfigError

from .pretrained import load_backbone, read_weights
from .staged import StagedBackbone

# By name: channels of the stem's middle and end; layers of a block; and of each stage the channels of a layer and of
# the result, and the number of blocks.
_ARCHS = {
    'B0': (16, 16, 3, ((16, 64, 1), (32, 256, 1), (64, 512, 2), (128, 1024, 1))),
    'B1': (24, 32, 3, ((32, 64, 1), (48, 256, 1), (96, 512, 2), (192, 1024, 1))),
    'B2': (24, 32, 4, ((32, 96, 1), (64, 384, 1), (128, 768, 3), (256, 1536, 1))),
    'B3': (24, 32, 5, ((32, 128, 1), (64, 512, 1), (128, 1024, 3), (256, 2048, 1))),
    'B4': (32, 48, 6, ((48, 128, 1), (96, 512, 1), (192, 1024, 3), (384, 2048, 1))),
    'B5': (32, 64, 6, ((64, 128, 1), (128, 512, 2), (256, 1024, 5), (512, 2048, 2))),
    'Atto': (16, 16, 3, ((16, 64, 1), (32, 256, 1), (64, 256, 1))),
    'Femto': (16, 16, 3, ((16, 64, 1), (32, 256, 1), (64, 512, 1))),
    'Pico': (16, 16, 3, ((16, 64, 1), (32, 256, 1), (64, 512, 2))),
}
_LIGHT = (False, False, True, True)  # whether a stage's layers are 1x1 and depthwise, instead of 3x3
_LIGHT_KERNEL = 5
_LIGHT_KERNELS = {'Atto': 3}


@BACKBONES.register_module()
class HGNetV2(StagedBackbone):
    """Backbone whose blocks concatenate the outputs of all their layers (PP-HGNetV2 of PaddleClas; no paper).

    ::

        image ── stem /4 ── stage 1 /4 ── stage 2 /8 ── stage 3 /16 ── stage 4 /32
        index      0           1              2             3              4

        block:  x ─┬─ layer ─┬─ layer ─┬─ … ── layer ─┐
                   └─────────┴─────────┴──────────────┴ concat ── 1x1 ── 1x1 ── (+ x, from the second block on)

    Modules have the names of D-FINE's (https://arxiv.org/abs/2410.13842), whose weights of a backbone or of a whole
    detector load.

    Args:
        arch: 'B0' to 'B5'. D-FINE N and S have B0, M has B2, L and RT-DETR-L B4, X and RT-DETR-X B5. 'Atto', 'Femto'
            and 'Pico' of DEIMv2 are smaller than B0 and have three stages.
        lab: multiply by a learnable scale, and add a bias, after each activation (D-FINE N, S and M).
        in_channels: channels of the image.
        out_indices: which of stem (0) and stages (1, 2, …) are returned; stages after the last of them aren't built.
        frozen_stages: −1 trains everything; 0 freezes the stem; n freezes the stem and the first n stages.
        norm: ``'bn'`` trains batch normalisation; ``'frozen'`` keeps its statistics and weights as loaded; ``'sync'``
            takes statistics over the batches of all processes, as ``sync_bn=True`` does for a whole model.
        weights: a file with initial weights, or None. It is read when weights are initialised, not when a checkpoint is
            to be loaded for prediction.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels, out_strides: of the maps returned, fine to coarse.
        freeze_parts: the modules that ``train_cfg.freeze=<number>`` counts: stem, then each stage.

    Shapes: ``(B, in_channels, H, W)`` to a tuple of ``(B, out_channels[i], H / out_strides[i], W / out_strides[i])``,
    sizes rounded up.

    Raises:
        ConfigError: an argument is none of those above.
    """

    def __init__(
        self,
        arch: str = 'B0',
        lab: bool = False,
        in_channels: int = 3,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        norm: str = 'bn',
        weights: str | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(out_indices, frozen_stages, norm, init_cfg)
        if arch not in _ARCHS:
            raise ConfigError(f'HGNetV2: arch is {arch!r}; it must be one of {", ".join(_ARCHS)}.')
        middle, width, num_layers, stages = _ARCHS[arch]
        if out_indices[-1] > len(stages):
            raise ConfigError(
                f'HGNetV2: out_indices {tuple(out_indices)} exceed the {len(stages)} stages of {arch}'
                f'; write indices up to {len(stages)}'
            )
        light_kernel = _LIGHT_KERNELS.get(arch, _LIGHT_KERNEL)
        conv = partial(HGConv, lab=lab, norm=self.norm)
        self.weights = weights
        self.stem = HGStem(conv, in_channels, middle, width)
        self.stages = nn.ModuleList()
        widths = (width, *(channels for _, channels, _ in stages))
        for index in range(out_indices[-1]):
            layer_channels, channels, num_blocks = stages[index]
            self.stages.append(
                HGStage(
                    conv,
                    widths[index],
                    layer_channels,
                    channels,
                    num_blocks,
                    num_layers,
                    downsample=index > 0,
                    light_kernel=light_kernel if _LIGHT[index] else None,
                )
            )
        self.out_channels = tuple(widths[i] for i in self.out_indices)
        self.out_strides = tuple((4, 4, 8, 16, 32)[i] for i in self.out_indices)
        self.freeze((('stem',), *((f'stages.{index}',) for index in range(len(self.stages)))))

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


class ScaleBias(nn.Module):
    """One learnable factor and summand for all values: 'learnable affine block'.

    In bfloat16 on a CPU it is a normalisation with mean 0 and variance 1, which computes the values and all gradients
    in one pass each, and keeps the type of its input; in float32 the gradients of plain operations are faster.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if is_plain(x) and x.device.type == 'cpu' and (x.dtype, self.scale.dtype) == (torch.bfloat16, torch.float32):
            channels = x.shape[1]
            mean, variance = self.scale.new_zeros(channels), self.scale.new_ones(channels)
            return F.batch_norm(x, mean, variance, self.scale.repeat(channels), self.bias.repeat(channels), eps=0.0)
        if torch.is_grad_enabled():
            return self.scale * x + self.bias
        return torch.addcmul(self.bias, self.scale, x)  # in one pass, of which a prediction's memory is a map less


class HGConv(nn.Module):
    """Convolution without bias, normalisation, ReLU, and the learnable scale and bias.

    Args:
        in_channels, out_channels, kernel_size, stride, groups: arguments of the convolution.
        padding: padding of the convolution; by default the size is kept at stride 1.
        act: whether there is an activation, and after it the scale.
        lab: whether there is a scale.
        norm: class of the normalisation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        padding: int | None = None,
        act: bool = True,
        lab: bool = False,
        norm: type[nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        padding = kernel_size // 2 if padding is None else padding
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
        self.bn = norm(out_channels)
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()
        self.lab = ScaleBias() if act and lab else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.lab(norm_activated(self.conv, self.bn, self.act, x))


class HGStem(nn.Module):
    """Two convolutions of 2x2 beside a pooling, between two strided ones: ``(B, in, H, W) -> (B, out, H/4, W/4)``."""

    def __init__(self, conv: Callable[..., HGConv], in_channels: int, middle: int, out_channels: int) -> None:
        super().__init__()
        self.stem1 = conv(in_channels, middle, 3, stride=2)
        self.stem2a = conv(middle, middle // 2, 2, padding=0)
        self.stem2b = conv(middle // 2, middle, 2, padding=0)
        self.stem3 = conv(2 * middle, middle, 3, stride=2)
        self.stem4 = conv(middle, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        # Windows of 2x2 keep the size with one row below and one column to the right.
        x = F.pad(self.stem1(x), (0, 1, 0, 1))
        beside = self.stem2b(F.pad(self.stem2a(x), (0, 1, 0, 1)))
        return self.stem4(self.stem3(torch.cat((F.max_pool2d(x, 2, stride=1), beside), dim=1)))


class HGBlock(nn.Module):
    """Layers in a row, whose outputs and input are concatenated: ``(B, in, H, W) -> (B, out, H, W)``."""

    def __init__(
        self,
        conv: Callable[..., HGConv],
        in_channels: int,
        layer_channels: int,
        out_channels: int,
        num_layers: int,
        light_kernel: int | None,
        shortcut: bool,
    ) -> None:
        super().__init__()
        layer = partial(LightLayer, conv, light_kernel) if light_kernel else partial(conv, kernel_size=3)
        widths = (in_channels, *[layer_channels] * num_layers)
        self.layers = nn.ModuleList(layer(before, layer_channels) for before in widths[:-1])
        half = out_channels // 2
        self.aggregation = nn.Sequential(conv(sum(widths), half), conv(half, out_channels))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        y = self.aggregation(torch.cat(outputs, dim=1))
        return x + y if self.shortcut else y


class LightLayer(nn.Module):
    """Convolution of 1x1 without activation, and a depthwise one."""

    def __init__(self, conv: Callable[..., HGConv], kernel_size: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, out_channels, act=False)
        self.conv2 = conv(out_channels, out_channels, kernel_size, groups=out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


class HGStage(nn.Module):
    """Blocks, after a depthwise convolution that halves the size, if ``downsample``; light ones with a kernel."""

    def __init__(
        self,
        conv: Callable[..., HGConv],
        in_channels: int,
        layer_channels: int,
        out_channels: int,
        num_blocks: int,
        num_layers: int,
        downsample: bool,
        light_kernel: int | None,
    ) -> None:
        super().__init__()
        self.downsample = (
            conv(in_channels, in_channels, 3, stride=2, groups=in_channels, act=False) if downsample else nn.Identity()
        )
        widths = (in_channels, *[out_channels] * num_blocks)
        self.blocks = nn.Sequential(
            *(
                HGBlock(conv, before, layer_channels, out_channels, num_layers, light_kernel, shortcut=index > 0)
                for index, before in enumerate(widths[:-1])
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))
