"""``ResNet``: torchvision's residual networks as a backbone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models import (
    ResNet18_Weights,
    ResNet34_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
    WeightsEnum,
    resnet,
)

from detkit.registry import BACKBONES
from detkit.utils.errors import ConfigError

from ..layers.norm_max_pool import can_join_pool, norm_max_pool
from .pretrained import fetch_weights, find_weights, load_backbone, read_weights
from .staged import StagedBackbone

# Block, blocks of each stage, and where torchvision lists the weights.
_DEPTHS = {
    18: (resnet.BasicBlock, (2, 2, 2, 2), ResNet18_Weights),
    34: (resnet.BasicBlock, (3, 4, 6, 3), ResNet34_Weights),
    50: (resnet.Bottleneck, (3, 4, 6, 3), ResNet50_Weights),
    101: (resnet.Bottleneck, (3, 4, 23, 3), ResNet101_Weights),
}
_VARIANTS = ('b', 'd')


@BACKBONES.register_module()
class ResNet(StagedBackbone):
    """Backbone of a strided stem and four stages of residual blocks (He et al., https://arxiv.org/abs/1512.03385).

    ::

        image ── stem /2 ── pool, layer1 /4 ── layer2 /8 ── layer3 /16 ── layer4 /32
        index      0              1                2             3             4

    Its modules are torchvision's under torchvision's names, so that weights of either load into the other. In the
    blocks of 50 and 101 the 3×3 convolution has the stride.

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
        block, blocks, choices = _DEPTHS[depth]
        if dilate_last and block is resnet.BasicBlock:
            raise ConfigError(f'ResNet: dilate_last needs depth 50 or 101; the blocks of {depth} are not made for it.')
        self.weights: WeightsEnum | str | None = weights and find_weights(weights, choices)
        if variant != 'b' and isinstance(self.weights, WeightsEnum):
            raise ConfigError(
                f'ResNet: weights is {weights!r}, but torchvision has no weights of variant {variant!r}; give a file, '
                'or None for random weights.'
            )

        net = resnet.ResNet(
            block,
            list(blocks),
            num_classes=1,
            norm_layer=self.norm,
            replace_stride_with_dilation=[False, False, dilate_last],
        )
        if variant == 'd':
            _set_variant_d(net)
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.stage_names = tuple(f'layer{index}' for index in range(1, out_indices[-1] + 1))
        for name in self.stage_names:
            setattr(self, name, getattr(net, name))
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
        path = fetch_weights(self.weights) if isinstance(self.weights, WeightsEnum) else self.weights
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


def _set_variant_d(net: resnet.ResNet) -> None:
    """Replace the stem's convolution and the shortcuts of torchvision's ``net`` by those of variant 'd'."""
    norm = type(net.bn1)
    layers = []
    for before, after, stride in ((3, 32, 2), (32, 32, 1)):
        layers += [_conv(before, after, 3, stride), norm(after), nn.ReLU(inplace=True)]
    net.conv1 = nn.Sequential(*layers, _conv(32, 64, 3))
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        block = stage[0]
        if block.downsample is None:  # of a basic block that keeps size and channels
            conv, bn = _conv(64, 64, 1), norm(64)
        else:
            conv, bn = block.downsample
        pool = nn.AvgPool2d(2, ceil_mode=True) if conv.stride == (2, 2) else nn.Identity()
        conv.stride = (1, 1)
        block.downsample = nn.Sequential(pool, conv, bn)


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution with the initialisation of torchvision's residual networks."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode='fan_out', nonlinearity='relu')
    return conv
