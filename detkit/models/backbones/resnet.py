"""``ResNet``: residual networks as a backbone, module by module those of torchvision, without its import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from detkit.registry import BACKBONES
from detkit.utils.errors import ConfigError

from ..layers.convolve import convolve
from ..layers.norm_max_pool import can_join_pool, norm_max_pool
from ..layers.packed import norm_activated
from .pretrained import NamedWeights, fetch_weights, find_weights, load_backbone, read_weights
from .staged import StagedBackbone


class ResidualBlock(nn.Module):
    """Base of convolutions beside a shortcut: ``(B, in_channels, h, w) -> (B, width * expansion, h', w')``.

    Args:
        in_channels: channels before.
        width: channels between.
        stride: that of the first 3x3 convolution, which halves the size where it is 2.
        dilation: that of this convolution.
        shortcut: the layers beside it, None for the input itself.
        norm: class of the normalisation.
    """

    expansion: ClassVar[int]
    downsample: nn.Module | None

    def _residual(self, x: Tensor) -> Tensor:
        """Return the output of the convolutions, which nobody else holds."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        y = self._residual(x)
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions, see ``ResidualBlock``."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        dilation: int,
        shortcut: nn.Module | None,
        norm: type[nn.Module],
    ) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, width, 3, stride, dilation)
        self.bn1 = norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = norm(width)
        self.downsample = shortcut

    def _residual(self, x: Tensor) -> Tensor:
        return self.bn2(convolve(self.conv2, norm_activated(self.conv1, self.bn1, self.relu, x)))


class Bottleneck(ResidualBlock):
    """A 3x3 convolution between two 1x1 convolutions, see ``ResidualBlock``."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        dilation: int,
        shortcut: nn.Module | None,
        norm: type[nn.Module],
    ) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, width, 1)
        self.bn1 = norm(width)
        self.conv2 = _conv(width, width, 3, stride, dilation)
        self.bn2 = norm(width)
        self.conv3 = _conv(width, width * self.expansion, 1)
        self.bn3 = norm(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut

    def _residual(self, x: Tensor) -> Tensor:
        x = norm_activated(self.conv1, self.bn1, self.relu, x)
        x = norm_activated(self.conv2, self.bn2, self.relu, x)
        return self.bn3(self.conv3(x))


# Block, and blocks of each stage.
_DEPTHS: dict[int, tuple[type[ResidualBlock], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
_VARIANTS = ('b', 'd')


@BACKBONES.register_module()
class ResNet(StagedBackbone):
    """Backbone of a strided stem and four stages of residual blocks (He et al., https://arxiv.org/abs/1512.03385).

    ::

        image ── stem /2 ── pool, layer1 /4 ── layer2 /8 ── layer3 /16 ── layer4 /32
        index      0              1                2             3             4

    Its modules are torchvision's under torchvision's names, so that weights of either load into the other, and a seed
    gives its network of one class the same weights. In the blocks of 50 and 101 the 3×3 convolution has the stride.

    Variant 'd' (He et al., https://arxiv.org/abs/1812.01187; 'vd' in PaddleDetection and RT-DETR) has a stem of three
    3×3 convolutions instead of one of 7×7, and halves the size of a shortcut by average pooling before its 1×1
    convolution. As in RT-DETR, the first block of 18 and 34 has a convolution in its shortcut too. Modules have the
    names of timm's ``resnet50d`` and ``resnet101d``, whose files load.

    Args:
        depth: 18, 34, 50 or 101.
        out_indices: which of stem (0) and stages (1, 2, …) are returned; stages after the last of them aren't built.
        frozen_stages: −1 trains everything; 0 freezes the stem; n freezes the stem and the first n stages (DETR: 1).
        norm: ``'bn'`` trains batch normalisation; ``'frozen'`` keeps its statistics and weights as loaded; ``'sync'``
            takes statistics over the batches of all processes, as ``sync_bn=True`` does for a whole model.
        dilate_last: dilate the last stage's convolutions instead of halving the size (DC5 of DETR); from depth 50 on.
        weights: initial weights: None, a name of torchvision's (``'IMAGENET1K_V1'``, downloaded once; of variant 'b'
            only), or a file. They are read when weights are initialised, not when a checkpoint is to be loaded for
            prediction.
        variant: 'b', torchvision's, or 'd'.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels, out_strides: of the maps returned, fine to coarse.
        freeze_parts: the modules that ``train_cfg.freeze=<number>`` counts: stem, then each stage.

    Shapes: ``(B, 3, H, W)`` to a tuple of ``(B, out_channels[i], H / out_strides[i], W / out_strides[i])``, sizes
    rounded up.

    Raises:
        ConfigError: an argument is none of those above.
    """

    def __init__(
        self,
        depth: int = 50,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        norm: str = 'bn',
        dilate_last: bool = False,
        weights: str | None = None,
        variant: str = 'b',
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(out_indices, frozen_stages, norm, init_cfg)
        if depth not in _DEPTHS:
            raise ConfigError(f'ResNet: depth is {depth!r}; it must be one of {", ".join(map(str, _DEPTHS))}.')
        if variant not in _VARIANTS:
            raise ConfigError(f"ResNet: variant is {variant!r}; it must be 'b' or 'd'.")
        block, blocks = _DEPTHS[depth]
        if dilate_last and block is BasicBlock:
            raise ConfigError(f'ResNet: dilate_last needs depth 50 or 101; the blocks of {depth} are not made for it.')
        self.weights = weights and find_weights(weights, f'ResNet{depth}_Weights')
        if variant != 'b' and isinstance(self.weights, NamedWeights):
            raise ConfigError(
                f'ResNet: weights is {weights!r}, but torchvision has no weights of variant {variant!r}; give a file, '
                'or None for random weights.'
            )

        self.conv1 = _conv(3, 64, 7, 2)
        self.bn1 = self.norm(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        before = 64
        for index, count in enumerate(blocks, start=1):
            dilated = dilate_last and index == len(blocks)
            stage = _stage(block, before, count, index, dilated, self.norm)
            self.add_module(f'layer{index}', stage)
            before = 32 * 2**index * block.expansion
        nn.Linear(before, 1)  # whose initial weights torchvision draws from the same generator
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _init_conv(module)
        if variant == 'd':
            self._set_variant_d()
        self.stage_names = tuple(f'layer{index}' for index in range(1, out_indices[-1] + 1))
        for index in range(out_indices[-1] + 1, len(blocks) + 1):
            delattr(self, f'layer{index}')
        channels = (64, *(64 * 2**stage * block.expansion for stage in range(4)))
        strides = (2, 4, 8, 16, 16 if dilate_last else 32)
        self.out_channels = tuple(channels[i] for i in self.out_indices)
        self.out_strides = tuple(strides[i] for i in self.out_indices)
        self.freeze((('conv1', 'bn1'), *((name,) for name in self.stage_names)))

    def init_weights(self) -> None:
        """Load ``weights``, if there are any; otherwise torchvision's random initialisation stays."""
        super().init_weights()
        if self.weights is None:
            return
        path = fetch_weights(self.weights) if isinstance(self.weights, NamedWeights) else self.weights
        load_backbone(self, read_weights(path), str(path))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.conv1(x)
        outputs = []
        if 0 in self.out_indices:
            x = self.relu(self.bn1(x))
            outputs.append(x)
            x = self.maxpool(x) if self.stage_names else x
        else:  # the activation grows with its input, and so may follow the pooling, which leaves a quarter of it
            joins = can_join_pool(self.bn1, self.maxpool, x)
            x = self.relu(norm_max_pool(self.bn1, self.maxpool, x) if joins else self.maxpool(self.bn1(x)))
        for index, name in enumerate(self.stage_names, start=1):
            x = getattr(self, name)(x)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def _set_variant_d(self) -> None:
        """Replace the stem's convolution and the shortcuts by those of variant 'd'."""
        layers = []
        for before, after, stride in ((3, 32, 2), (32, 32, 1)):
            layers += [_init_conv(_conv(before, after, 3, stride)), self.norm(after), nn.ReLU(inplace=True)]
        self.conv1 = nn.Sequential(*layers, _init_conv(_conv(32, 64, 3)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            block = stage[0]
            if block.downsample is None:  # of a basic block that keeps size and channels
                conv, bn = _init_conv(_conv(64, 64, 1)), self.norm(64)
            else:
                conv, bn = block.downsample
            pool = nn.AvgPool2d(2, ceil_mode=True) if conv.stride == (2, 2) else nn.Identity()
            conv.stride = (1, 1)
            block.downsample = nn.Sequential(pool, conv, bn)


def _stage(
    block: type[ResidualBlock], before: int, count: int, index: int, dilated: bool, norm: type[nn.Module]
) -> nn.Sequential:
    """Return stage ``index`` of ``count`` blocks, whose input has ``before`` channels.

    The first block halves the size, from the second stage on; in a dilated stage the convolutions of the others are
    dilated instead.
    """
    width = 32 * 2**index
    after, stride = width * block.expansion, 1 if index == 1 or dilated else 2
    shortcut = None
    if stride != 1 or before != after:
        shortcut = nn.Sequential(_conv(before, after, 1, stride), norm(after))
    blocks = [block(before, width, stride, 1, shortcut, norm)]
    blocks += [block(after, width, 1, 2 if dilated else 1, None, norm) for _ in range(1, count)]
    return nn.Sequential(*blocks)


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Return a convolution without bias that keeps the size at stride 1."""
    padding = dilation * (kernel_size // 2)
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=False)


def _init_conv(conv: nn.Conv2d) -> nn.Conv2d:
    """Draw the weights of a convolution as torchvision's residual networks do; return it."""
    nn.init.kaiming_normal_(conv.weight, mode='fan_out', nonlinearity='relu')
    return conv
