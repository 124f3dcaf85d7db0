"""Parts of a model that do not train."""

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from detkit.utils.errors import ConfigError, nearest


def freeze_modules(model: nn.Module, freeze: int | str | Sequence[str]) -> list[nn.Module]:
    """Stop the gradients of parts of ``model``.

    Args:
        model: the model, not wrapped.
        freeze: names of modules (or one name), such as ``['backbone', 'neck.0']``; or a number, that many parts of the
            backbone (the stem is the first, each stage is one more; a backbone that is divided otherwise says in its
            attribute ``freeze_parts`` which names make up each part).

    Returns:
        Their normalisation layers, whose statistics ``freeze_batch_norm`` keeps still.

    Raises:
        ConfigError: a prefix names no module, or the backbone has fewer parts.
    """
    if isinstance(freeze, int):
        backbone = getattr(model, 'backbone', nn.Module())
        parts = getattr(backbone, 'freeze_parts', None) or _parts(backbone)
        if freeze > len(parts):
            raise ConfigError(f'train_cfg.freeze is {freeze}, but the backbone has only {len(parts)} parts.')
        prefixes = [f'backbone.{name}' for part in parts[:freeze] for name in part]
    else:
        prefixes = [freeze] if isinstance(freeze, str) else list(freeze)
    modules = dict(model.named_modules())
    frozen: list[nn.Module] = []
    for prefix in prefixes:
        if prefix not in modules:
            raise ConfigError(
                f'train_cfg.freeze names {prefix!r}, which is no module of the model.{nearest(prefix, modules)}'
            )
        modules[prefix].requires_grad_(False)
        frozen += [module for module in modules[prefix].modules() if isinstance(module, _BatchNorm)]
    return frozen


def _parts(backbone: nn.Module) -> list[tuple[str, ...]]:
    """Each child is a part; of a list of stages each one is."""
    parts: list[tuple[str, ...]] = []
    for name, child in backbone.named_children():
        is_list = isinstance(child, nn.ModuleList)
        parts += [(f'{name}.{i}',) for i in range(len(child))] if is_list else [(name,)]
    return parts


def freeze_batch_norm(layers: Sequence[nn.Module]) -> None:
    """Put normalisation layers into evaluation mode; to be called after each ``model.train()``."""
    for layer in layers:
        layer.eval()
