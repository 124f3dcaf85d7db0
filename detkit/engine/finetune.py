"""Starting from a checkpoint's weights, possibly of a model for other classes, and freezing parts of a model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from detkit.utils.errors import CheckpointError, ConfigError, nearest


@dataclass
class LoadReport:
    """What ``load_weights`` did, by tensor name."""

    loaded: int = 0
    reinitialised: list[str] = field(default_factory=list)
    copied_classes: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """At most three lines for people."""
        lines = [f'{self.loaded} tensors loaded']
        if self.copied_classes:
            lines[0] += f', {len(self.copied_classes)} classes copied by name'
        if self.reinitialised:
            lines.append(
                f'{len(self.reinitialised)} tensors are missing or do not fit, and start anew: '
                f'{_shorten(self.reinitialised)}'
            )
        if self.unused:
            lines.append(f'{len(self.unused)} tensors of the checkpoint are not used: {_shorten(self.unused)}')
        return lines


def _shorten(names: list[str], count: int = 4) -> str:
    return ', '.join(names[:count]) + (f', … ({len(names) - count} more)' if len(names) > count else '')


def class_layers(model: nn.Module, num_classes: int) -> dict[str, tuple[int, int, int]]:
    """Names of the tensors whose rows (first axis) belong to classes, and how the rows are arranged.

    They are the last layers of classification branches, a row a class, and what a head names in ``class_rows``: layer
    name -> (number of groups of rows; rows at the beginning of a group, and at its end, that all classes share).
    """
    found = {}
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.Conv2d | nn.Linear)
            and module.bias is not None
            and 'cls' in name
            and module.weight.shape[0] == num_classes
        ):
            found[name] = 1, 0, 0
        layers = getattr(module, 'class_rows', {})
        found.update({f'{name}.{layer}'.lstrip('.'): arrangement for layer, arrangement in layers.items()})
    return {f'{name}.{kind}': arrangement for name, arrangement in found.items() for kind in ('weight', 'bias')}


def load_weights(
    model: nn.Module, checkpoint: dict[str, Any], classes: Sequence[str] | None = None, source: str = 'checkpoint'
) -> LoadReport:
    """Copy a checkpoint's weights into ``model``, whose other tensors must have been initialised.

    A tensor of another shape is left as initialised and listed; in the layers that tell classes (``class_layers``) the
    rows of classes with the same name are copied, and those that all classes share, such as an anchor's box or the one
    for 'no object'; the others are left as initialised. So are parts that a head adds to a simpler one (a mask branch,
    say), which it names in ``added_parts``, where the checkpoint has nothing of them.

    Args:
        model: the model, not wrapped for distributed training.
        checkpoint: what ``load_checkpoint`` returned.
        classes: the model's class names; None leaves classes alone.
        source: the checkpoint's name in messages.

    Raises:
        CheckpointError: the checkpoint lacks a tensor of the model.
    """
    weights: dict[str, Tensor] = checkpoint['state_dict']
    target = model.state_dict()
    added = _added_parts(model, weights)
    missing = [name for name in target if name not in weights and not name.startswith(added)]
    if missing:
        raise CheckpointError(
            f'{source} lacks {len(missing)} of the {len(target)} tensors of this model ({_shorten(missing)}). '
            'It belongs to another architecture, size or task: use a checkpoint of the same model config.'
        )

    old_classes = list(checkpoint['meta'].get('classes') or [])
    new_classes = list(classes or [])
    rename = bool(old_classes and new_classes and old_classes != new_classes)
    pairs = [(new_classes.index(name), i) for i, name in enumerate(old_classes) if rename and name in new_classes]
    by_class = class_layers(model, len(new_classes)) if rename else {}

    report = LoadReport(unused=[name for name in weights if name not in target])
    with torch.no_grad():
        for name, tensor in target.items():
            if name not in weights:
                report.reinitialised.append(name)
                continue
            value = weights[name]
            if _copy_rows(tensor, value, by_class.get(name), pairs, len(new_classes), len(old_classes)):
                report.copied_classes = [new_classes[new] for new, _ in pairs]
                if len(pairs) < len(new_classes):
                    report.reinitialised.append(name)
            elif value.shape == tensor.shape:
                tensor.copy_(value)
                report.loaded += 1
            else:
                report.reinitialised.append(name)
    return report


def _added_parts(model: nn.Module, weights: dict[str, Tensor]) -> tuple[str, ...]:
    """Prefixes of the parts in ``added_parts`` of which the checkpoint has nothing."""
    prefixes = [
        f'{name}.{part}.'.lstrip('.')
        for name, module in model.named_modules()
        for part in getattr(module, 'added_parts', ())
    ]
    return tuple(prefix for prefix in prefixes if not any(name.startswith(prefix) for name in weights))


def _copy_rows(
    target: Tensor,
    value: Tensor,
    arrangement: tuple[int, int, int] | None,
    pairs: list[tuple[int, int]],
    new_count: int,
    old_count: int,
) -> bool:
    """Copies the rows of the classes in ``pairs`` (new, old), and those that all classes share.

    Args:
        arrangement: of the rows, see ``class_layers``; None where they are none of classes.

    Returns:
        False, and nothing copied, where they are none, or the tensors differ otherwise.
    """
    if arrangement is None or value.shape[1:] != target.shape[1:]:
        return False
    groups, first, last = arrangement
    if (len(target), len(value)) != tuple(groups * (first + count + last) for count in (new_count, old_count)):
        return False
    target, value = (tensor.view(groups, len(tensor) // groups, *tensor.shape[1:]) for tensor in (target, value))
    target[:, :first].copy_(value[:, :first])
    target[:, first + new_count :].copy_(value[:, first + old_count :])
    for new, old in pairs:
        target[:, first + new].copy_(value[:, first + old])
    return True


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
