"""``MobileNetV3``: torchvision's MobileNetV3-Large as a backbone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large

from detkit.registry import BACKBONES
from detkit.utils.errors import ConfigError

from ..base_module import BaseModule
from .pretrained import NamedWeights, fetch_weights, find_weights, load_backbone, read_weights
from .staged import NORMS, keep_statistics

# Channels and stride of the output of each of the 17 modules, and the first module of each stage.
_CHANNELS = (16, 16, 24, 24, 40, 40, 40, 80, 80, 80, 80, 112, 112, 160, 160, 160, 960)
_STRIDES = (2, 2, 4, 4, 8, 8, 8, 16, 16, 16, 16, 16, 16, 32, 32, 32, 32)
_STAGES = (0, 2, 4, 7, 13, 16)


@BACKBONES.register_module()
class MobileNetV3(BaseModule):
    """Backbone of inverted residuals with depthwise convolutions, the large variant (arXiv:1905.02244).

    ::

        module   0, 1      2, 3       4 … 6      7 … 12      13 … 15     16
        stage    0 /2      1 /4       2 /8       3 /16       4 /32       5 /32
        width    16        24         40         80, 112     160         960

    Its modules are torchvision's under torchvision's names, so that weights of either load into the other.

    Args:
        out_indices: which modules' outputs are returned; those after the last of them aren't built. torchvision's
            detectors take 13 and 16.
        frozen_stages: −1 trains everything; n freezes the first n + 1 stages (torchvision's detectors: 2).
        norm: ``'bn'`` trains batch normalisation; ``'frozen'`` keeps its statistics and weights as loaded; ``'sync'``
            takes statistics over the batches of all processes. Each has torch's default ``eps``, as in torchvision's
            detectors.
        weights: initial weights: None, a name of torchvision's (``'IMAGENET1K_V1'``, downloaded once), or a file.
        init_cfg: mmengine's initialisation config.

    Attributes:
        out_channels, out_strides: of the maps returned, fine to coarse.
        freeze_parts: the modules that ``train_cfg.freeze=<number>`` counts: each stage.

    Raises:
        ConfigError: an argument is none of those above.
    """

    def __init__(
        self,
        out_indices: Sequence[int] = (6, 12, 16),
        frozen_stages: int = -1,
        norm: str = 'bn',
        weights: str | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if norm not in NORMS:
            raise ConfigError(f'MobileNetV3: norm is {norm!r}; it must be one of {", ".join(map(repr, NORMS))}.')
        if not out_indices or list(out_indices) != sorted(set(out_indices) & set(range(len(_CHANNELS)))):
            raise ConfigError(f'MobileNetV3: out_indices {tuple(out_indices)} must ascend within 0 … 16.')
        last = out_indices[-1]
        stages = [first for first in _STAGES if first <= last]
        if not -1 <= frozen_stages < len(stages):
            raise ConfigError(
                f'MobileNetV3: frozen_stages is {frozen_stages}; it must lie within -1 (nothing) … {len(stages) - 1} '
                '(the last stage that is built).'
            )
        self.weights = weights and find_weights(weights, 'MobileNet_V3_Large_Weights')
        self.out_indices = tuple(out_indices)
        self.features = nn.Sequential(
            *mobilenet_v3_large(weights=None, num_classes=1, norm_layer=NORMS[norm]).features[: last + 1]
        )
        self.out_channels = tuple(_CHANNELS[i] for i in out_indices)
        self.out_strides = tuple(_STRIDES[i] for i in out_indices)
        ends = [*stages[1:], last + 1]
        self.freeze_parts = tuple(
            tuple(f'features.{i}' for i in range(first, end)) for first, end in zip(stages, ends, strict=True)
        )
        self._frozen = [self.get_submodule(name) for part in self.freeze_parts[: frozen_stages + 1] for name in part]
        for module in self._frozen:
            module.requires_grad_(False)

    def init_weights(self) -> None:
        """Load ``weights``, if there are any; otherwise torchvision's random initialisation stays."""
        super().init_weights()
        if self.weights is not None:
            path = fetch_weights(self.weights) if isinstance(self.weights, NamedWeights) else self.weights
            load_backbone(self, read_weights(path), str(path))

    def train(self, mode: bool = True) -> MobileNetV3:
        """Set the mode of all but the normalisation of frozen stages, which keeps its statistics."""
        super().train(mode)
        keep_statistics(self._frozen)
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = []
        for index, module in enumerate(self.features):
            x = module(x)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)
