"""``StagedBackbone``: what backbones of a stem and stages, of which some are frozen, have in common."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from detkit.utils.errors import ConfigError

from ..base_module import BaseModule
from ..layers import FrozenBatchNorm2d, SyncBatchNorm2d

NORMS = {'frozen': FrozenBatchNorm2d, 'bn': nn.BatchNorm2d, 'sync': SyncBatchNorm2d}


class StagedBackbone(BaseModule):
    """Base of backbones of a stem (0) and four stages (1 … 4), some of which may be returned, and the first frozen.

    Args:
        out_indices: which of stem and stages are returned.
        frozen_stages: −1 trains everything; 0 freezes the stem; n freezes the stem and the first n stages.
        norm: one of ``NORMS``.
        init_cfg: mmengine's initialisation config.

    Attributes:
        norm: the class of normalisation.
        freeze_parts: the modules that ``train_cfg.freeze=<number>`` counts: stem, then each stage.

    Raises:
        ConfigError: an argument is none of those above.
    """

    def __init__(
        self, out_indices: Sequence[int], frozen_stages: int, norm: str, init_cfg: dict | list | None = None
    ) -> None:
        super().__init__(init_cfg)
        name = type(self).__name__
        if norm not in NORMS:
            raise ConfigError(f'{name}: norm is {norm!r}; it must be one of {", ".join(map(repr, NORMS))}.')
        if not out_indices or list(out_indices) != sorted(set(out_indices) & set(range(5))):
            raise ConfigError(f'{name}: out_indices {tuple(out_indices)} must ascend within 0 (stem) … 4.')
        last = out_indices[-1]
        if not -1 <= frozen_stages <= last:
            raise ConfigError(
                f'{name}: frozen_stages is {frozen_stages}; it must lie within -1 (nothing) … {last} '
                '(the last stage that is built).'
            )
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm: type[nn.Module] = NORMS[norm]
        self.freeze_parts: tuple[tuple[str, ...], ...] = ()
        self._frozen: list[nn.Module] = []

    def freeze(self, parts: Sequence[tuple[str, ...]]) -> None:
        """Set ``freeze_parts``, the names of the modules of stem and stages, and freeze the first of them."""
        self.freeze_parts = tuple(parts)
        frozen = self.freeze_parts[: self.frozen_stages + 1]
        self._frozen = [self.get_submodule(name) for part in frozen for name in part]
        for module in self._frozen:
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> StagedBackbone:
        """Set the mode of all but the normalisation of frozen parts, which keeps its statistics."""
        super().train(mode)
        keep_statistics(self._frozen)
        return self


def keep_statistics(modules: Sequence[nn.Module]) -> None:
    """Put the batch normalisation of ``modules`` into evaluation mode."""
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, _BatchNorm):
                layer.eval()
