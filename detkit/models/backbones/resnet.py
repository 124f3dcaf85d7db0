"""``ResNet``: torchvision's residual networks as a backbone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
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

from ..base_module import BaseModule
from ..layers import FrozenBatchNorm2d, SyncBatchNorm2d
from .pretrained import fetch_weights, find_weights, load_backbone, read_weights

# Block, blocks of each stage, and where torchvision lists the weights.
_DEPTHS = {
    18: (resnet.BasicBlock, (2, 2, 2, 2), ResNet18_Weights),
    34: (resnet.BasicBlock, (3, 4, 6, 3), ResNet34_Weights),
    50: (resnet.Bottleneck, (3, 4, 6, 3), ResNet50_Weights),
    101: (resnet.Bottleneck, (3, 4, 23, 3), ResNet101_Weights),
}
_NORMS = {'frozen': FrozenBatchNorm2d, 'bn': nn.BatchNorm2d, 'sync': SyncBatchNorm2d}


@BACKBONES.register_module()
class ResNet(BaseModule):
    """Backbone of a strided stem and four stages of residual blocks (He et al., https://arxiv.org/abs/1512.03385).

    ::

        image ── stem /2 ── pool, layer1 /4 ── layer2 /8 ── layer3 /16 ── layer4 /32
        index      0              1                2             3             4

    Its modules are torchvision's under torchvision's names, so that weights of either load into the other. In the
    blocks of 50 and 101 the 3×3 convolution has the stride.

    Args:
        depth: 18, 34, 50 or 101.
        out_indices: which of stem (0) and stages (1, 2, …) are returned; stages after the last of them aren't built.
        frozen_stages: −1 trains everything; 0 freezes the stem; n freezes the stem and the first n stages (DETR: 1).
        norm: ``'bn'`` trains batch normalisation; ``'frozen'`` keeps its statistics and weights as loaded; ``'sync'``
            takes statistics over the batches of all processes, as ``sync_bn=True`` does for a whole model.
        dilate_last: dilate the last stage's convolutions instead of halving the size (DC5 of DETR); from depth 50 on.
        weights: initial weights: None, a name of torchvision's (``'IMAGENET1K_V1'``, downloaded once), or a file. They
            are read when weights are initialised, not when a checkpoint is to be loaded for prediction.
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
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if depth not in _DEPTHS:
            raise ConfigError(f'ResNet: depth is {depth!r}; it must be one of {", ".join(map(str, _DEPTHS))}.')
        if norm not in _NORMS:
            raise ConfigError(f'ResNet: norm is {norm!r}; it must be one of {", ".join(map(repr, _NORMS))}.')
        if not out_indices or list(out_indices) != sorted(set(out_indices) & set(range(5))):
            raise ConfigError(f'ResNet: out_indices {tuple(out_indices)} must ascend within 0 (stem) … 4.')
        last = out_indices[-1]
        if not -1 <= frozen_stages <= last:
            raise ConfigError(
                f'ResNet: frozen_stages is {frozen_stages}; it must lie within -1 (nothing) … {last} '
                '(the last stage that is built).'
            )
        block, blocks, choices = _DEPTHS[depth]
        if dilate_last and block is resnet.BasicBlock:
            raise ConfigError(f'ResNet: dilate_last needs depth 50 or 101; the blocks of {depth} are not made for it.')
        self.weights: WeightsEnum | str | None = weights and find_weights(weights, choices)

        net = resnet.ResNet(
            block,
            list(blocks),
            num_classes=1,
            norm_layer=_NORMS[norm],
            replace_stride_with_dilation=[False, False, dilate_last],
        )
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.stage_names = tuple(f'layer{index}' for index in range(1, last + 1))
        for name in self.stage_names:
            setattr(self, name, getattr(net, name))
        self.frozen_stages = frozen_stages
        self.out_indices = tuple(out_indices)
        channels = (64, *(64 * 2**stage * block.expansion for stage in range(4)))
        strides = (2, 4, 8, 16, 16 if dilate_last else 32)
        self.out_channels = tuple(channels[i] for i in self.out_indices)
        self.out_strides = tuple(strides[i] for i in self.out_indices)
        self.freeze_parts = (('conv1', 'bn1'), *((name,) for name in self.stage_names))
        self._frozen = [getattr(self, name) for part in self.freeze_parts[: frozen_stages + 1] for name in part]
        for module in self._frozen:
            module.requires_grad_(False)

    def init_weights(self) -> None:
        """Load ``weights``, if there are any; otherwise torchvision's random initialisation stays."""
        super().init_weights()
        if self.weights is None:
            return
        path = fetch_weights(self.weights) if isinstance(self.weights, WeightsEnum) else self.weights
        load_backbone(self, read_weights(path), str(path))

    def train(self, mode: bool = True) -> ResNet:
        """Set the mode of all but the normalisation of frozen parts, which keeps its statistics."""
        super().train(mode)
        for module in self._frozen:
            for layer in module.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.relu(self.bn1(self.conv1(x)))
        outputs = [x] if 0 in self.out_indices else []
        for index, name in enumerate(self.stage_names, start=1):
            x = getattr(self, name)(self.maxpool(x) if index == 1 else x)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)
