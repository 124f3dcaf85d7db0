"""Starting from a checkpoint's weights, possibly of a model for other classes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from detkit.utils.errors import CheckpointError


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
            lines.append(f'{len(self.reinitialised)} tensors do not fit and start anew: {_shorten(self.reinitialised)}')
        if self.unused:
            lines.append(f'{len(self.unused)} tensors of the checkpoint are not used: {_shorten(self.unused)}')
        return lines


def _shorten(names: list[str], count: int = 4) -> str:
    return ', '.join(names[:count]) + (f', … ({len(names) - count} more)' if len(names) > count else '')


def class_layers(model: nn.Module, num_classes: int) -> dict[str, int]:
    """The tensors whose first axis is the class, the last layers of classification branches, by name, each with the
    number of rows behind those of the classes: 0, or 1 for 'no object'."""
    return {
        f'{name}.{kind}': len(module.weight) - num_classes
        for name, module in model.named_modules()
        for kind in ('weight', 'bias')
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None and 'cls' in name
        and 0 <= len(module.weight) - num_classes <= 1
    }


def load_weights(model: nn.Module, checkpoint: dict[str, Any], classes: Sequence[str] | None = None,
                 source: str = 'checkpoint') -> LoadReport:
    """Copy a checkpoint's weights into ``model``, whose other tensors must have been initialised.

    A tensor of another shape is left as initialised and listed; in the last layers of the classification branches the
    rows of classes with the same name (and that of 'no object') are copied, the others are left as initialised.

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
    missing = [name for name in target if name not in weights]
    if missing:
        raise CheckpointError(
            f'{source} lacks {len(missing)} of the {len(target)} tensors of this model ({_shorten(missing)}). '
            'It belongs to another architecture, size or task: use a checkpoint of the same model config.')

    old_classes = list(checkpoint['meta'].get('classes') or [])
    new_classes = list(classes or [])
    rename = bool(old_classes and new_classes and old_classes != new_classes)
    pairs = [(new_classes.index(name), i) for i, name in enumerate(old_classes) if rename and name in new_classes]
    by_class = class_layers(model, len(new_classes)) if rename else {}

    report = LoadReport(unused=[name for name in weights if name not in target])
    with torch.no_grad():
        for name, tensor in target.items():
            value = weights[name]
            is_class_layer = (name in by_class and value.shape[0] == len(old_classes) + by_class[name]
                              and value.shape[1:] == tensor.shape[1:])
            if is_class_layer:
                for new, old in pairs:
                    tensor[new].copy_(value[old])
                tensor[len(new_classes):].copy_(value[len(old_classes):])
                report.copied_classes = [new_classes[new] for new, _ in pairs]
                if len(pairs) < len(new_classes):
                    report.reinitialised.append(name)
            elif value.shape == tensor.shape:
                tensor.copy_(value)
                report.loaded += 1
            else:
                report.reinitialised.append(name)
    return report
