"""Starting from a checkpoint's weights, possibly of a model for other classes, and freezing parts of a model."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from detkit.datasets.class_names import UNUSED_CLASS
from detkit.engine.checkpoint import refuse_nan
from detkit.models.detectors import BaseDetector
from detkit.models.heads import BaseHead
from detkit.utils.errors import CheckpointError, ConfigError, nearest, shorten
from detkit.utils.numbers import count_text


@dataclass
class LoadReport:
    """The result of ``load_weights``, by tensor name.

    Attributes:
        loaded: the number of tensors that were copied as a whole.
        reinitialised: those that were not, or in which rows of classes were not.
        partial: those of them in which rows of classes were copied by name.
        copied_classes: the names of these classes.
        new_classes: the names of the model's other classes, where the checkpoint has classes of other names.
        like_named: those of them whose name the checkpoint has in another spelling -> that spelling.
        left_out: the checkpoint's other classes, whose rows are not used.
        queries: the number of queries of a group of the model's and of the checkpoint's, if they differ.
        unused: tensors of the checkpoint that the model does not have.
    """

    loaded: int = 0
    reinitialised: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    copied_classes: list[str] = field(default_factory=list)
    new_classes: list[str] = field(default_factory=list)
    like_named: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    queries: tuple[int, int] | None = None
    unused: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return a description of at most six lines."""
        lines = [f'{self.loaded} tensors loaded']
        if self.copied_classes or self.new_classes or self.left_out:
            lines[0] += f', {count_text(len(self.copied_classes), "class", "classes")} copied by name'
        if self.queries is not None:
            lines[0] += ', the first {} of {} queries'.format(*sorted(self.queries))
        if self.new_classes:
            new = count_text(len(self.new_classes), 'class', 'classes')
            lines.append(f'{new} not in the checkpoint: {shorten(self.new_classes)}')
            if self.like_named:
                pairs = shorten(f'{new!r} for {old!r}' for new, old in self.like_named.items())
                lines[-1] += f'; of them, written otherwise than there: {pairs}'
        if self.left_out:
            former = count_text(len(self.left_out), 'class', 'classes')
            lines.append(f'{former} of the checkpoint left out: {shorten(self.left_out)}')
        if self.partial:
            lines.append(
                f'{len(self.partial)} tensors have the rows of these classes, others are initialised anew: '
                f'{shorten(self.partial)}'
            )
        if anew := [name for name in self.reinitialised if name not in self.partial]:
            lines.append(f'{len(anew)} tensors are missing or do not fit, and are initialised anew: {shorten(anew)}')
        if self.unused:
            lines.append(f'{len(self.unused)} tensors of the checkpoint are not used: {shorten(self.unused)}')
        return lines


@runtime_checkable
class NamesParts(Protocol):
    """A backbone whose parts are not its children.

    Attributes:
        freeze_parts: the names of the modules of each part, from the stem on, see ``freeze_modules``.
    """

    freeze_parts: Sequence[tuple[str, ...]]


@runtime_checkable
class NamesUndecayed(Protocol):
    """A module some of whose weights do not decay in training, whatever the model that it is a part of.

    Attributes:
        no_decay: beginnings of their names within the module.
    """

    no_decay: Sequence[str]


def class_layers(model: nn.Module, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Find the tensors whose rows (first axis) belong to classes.

    They are the last layers of classification branches, with a row for each class, and the layers that a head lists in
    ``class_rows``.

    Returns:
        For each tensor's name the arrangement of its rows: the number of groups, the number of classes' worth of rows
        at a group's beginning and at its end that all classes share, and the rows of a class, 1 where it is left out.
    """
    layers: dict[str, tuple[int, ...]] = {}
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.Conv2d | nn.Linear)
            and module.bias is not None
            and 'cls' in name
            and module.weight.shape[0] == num_classes
        ):
            layers[name] = 1, 0, 0
        rows = module.class_rows if isinstance(module, BaseHead) else {}
        layers.update({f'{name}.{layer}'.lstrip('.'): arrangement for layer, arrangement in rows.items()})
    return {f'{name}.{kind}': arrangement for name, arrangement in layers.items() for kind in ('weight', 'bias')}


def query_layers(model: nn.Module) -> dict[str, str | None]:
    """Find the tensors that have a row for each learnt query, which heads list in ``query_tables``.

    Returns:
        For each tensor's name the prefix of the modules of which each group of queries has one; None for one group.
    """
    return {
        f'{name}.{table}.weight'.lstrip('.'): groups and f'{name}.{groups}.'.lstrip('.')
        for name, module in model.named_modules()
        if isinstance(module, BaseHead)
        for table, groups in module.query_tables.items()
    }


def load_weights(
    model: nn.Module, checkpoint: dict[str, Any], classes: Sequence[str] | None = None, source: str = 'checkpoint'
) -> LoadReport:
    """Copy a checkpoint's weights into ``model``, whose other tensors must have been initialised.

    A tensor of another shape keeps its initialisation and is listed. In classification layers (``class_layers``) the
    rows of classes with the same name are copied, and those that all classes share (an anchor's box, 'no object').
    Tensors that the config decides (``own_tensors`` of a detector) stay as they are.
    In tables of learnt queries (``query_layers``) each group keeps its first queries, as many as both have.
    Parts that a head adds to a simpler one (a mask branch) and lists in ``added_parts``, and those of further groups of
    queries, may be missing from the checkpoint.

    Args:
        model: the model, not wrapped for distributed training.
        checkpoint: from ``load_checkpoint``.
        classes: the model's class names; None to copy no rows by name.
        source: the checkpoint's name in messages.

    Raises:
        CheckpointError: the checkpoint lacks a tensor of the model, or one holds NaN.
    """
    weights: dict[str, Tensor] = checkpoint['state_dict']
    check_names(model, weights, source)
    refuse_nan(weights, source)
    own, target = _own_tensors(model), _target(model)
    old_classes = list(checkpoint['meta'].get('classes') or [])
    new_classes = list(classes or [])
    rename = bool(old_classes and new_classes and old_classes != new_classes)
    pairs = [(new_classes.index(name), i) for i, name in enumerate(old_classes) if rename and name in new_classes]
    by_class = class_layers(model, len(new_classes)) if rename else {}
    groups = {
        name: (_count_items(target, prefix), _count_items(weights, prefix))
        for name, prefix in query_layers(model).items()
    }

    report = LoadReport(unused=[name for name in weights if name not in target and name not in own])
    if by_class:
        report.new_classes = [name for name in new_classes if name not in old_classes]
        report.like_named = _like_named(report.new_classes, old_classes)
        known = {*new_classes, *report.like_named.values(), UNUSED_CLASS}
        report.left_out = [name for name in old_classes if name not in known]
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
                    report.partial += [name] if pairs else []
            elif counts := _copy_queries(tensor, value, groups.get(name)):
                report.loaded += 1
                if counts[0] != counts[1]:
                    report.queries = counts
            elif value.shape == tensor.shape:
                tensor.copy_(value)
                report.loaded += 1
            else:
                report.reinitialised.append(name)
    return report


def check_names(model: nn.Module, weights: Mapping[str, Tensor], source: str = 'checkpoint') -> None:
    """Raise ``CheckpointError`` if ``load_weights`` would, which needs no initialised model; arguments are its own."""
    target, added = _target(model), _added_parts(model, weights)
    missing = [name for name in target if name not in weights and not name.startswith(added)]
    if missing:
        raise CheckpointError(
            f'{source} lacks {len(missing)} of the {len(target)} tensors of this model ({shorten(missing)}). '
            'It belongs to another architecture, size or task: use a checkpoint of the same model config.'
        )


def has_backbone(weights: Mapping[str, Tensor], model: nn.Module) -> bool:
    """Return whether weights replace all of the model's ``backbone``: they have its tensors, in the same shapes."""
    tensors = {name: tensor for name, tensor in _target(model).items() if name.startswith('backbone.')}
    return bool(tensors) and all(name in weights and weights[name].shape == t.shape for name, t in tensors.items())


def _like_named(names: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Return those of ``others`` that differ from a name in case, spaces, hyphens or underscores alone, by name."""
    spellings = {_bare(other): other for other in others}
    return {name: spellings[_bare(name)] for name in names if _bare(name) in spellings}


def _bare(name: str) -> str:
    return ''.join(letter for letter in name.casefold() if letter not in ' -_')


def _own_tensors(model: nn.Module) -> Collection[str]:
    return model.own_tensors if isinstance(model, BaseDetector) else ()


def _target(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that a checkpoint replaces."""
    own = _own_tensors(model)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in own}


def _count_items(state: Mapping[str, Tensor], prefix: str | None) -> int:
    """Return the number of items of the list of modules whose tensors have a prefix; 1 without one."""
    return len({name[len(prefix) :].partition('.')[0] for name in state if name.startswith(prefix)}) if prefix else 1


def _copy_queries(target: Tensor, value: Tensor, groups: tuple[int, int] | None) -> tuple[int, int] | None:
    """Copy the first queries of each group, as many as both have.

    Args:
        target, value: ``(G * Q, C)``, each of its own number of groups and queries.
        groups: the number of groups of each; None for a tensor that has no row for each query.

    Returns:
        The number of queries of a group of each; None where nothing was copied.
    """
    if groups is None or target.shape[1:] != value.shape[1:] or not groups[1] or len(value) % groups[1]:
        return None
    new, old = (each.view(count, -1, each.shape[1]) for each, count in zip((target, value), groups, strict=True))
    kept = min(groups), min(new.shape[1], old.shape[1])
    new[: kept[0], : kept[1]].copy_(old[: kept[0], : kept[1]])
    return new.shape[1], old.shape[1]


def _added_parts(model: nn.Module, weights: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the prefixes of the parts that the checkpoint lacks completely, of those that it may lack.

    They are a head's ``added_parts``, and those of the groups of queries that the model has more than the checkpoint.
    """
    prefixes = [
        f'{name}.{part}.'.lstrip('.')
        for name, module in model.named_modules()
        if isinstance(module, BaseHead)
        for part in module.added_parts
    ]
    for groups in filter(None, query_layers(model).values()):
        first = _count_items(weights, groups)
        prefixes += [f'{groups}{group}.' for group in range(first, _count_items(model.state_dict(), groups)) if first]
    return tuple(prefix for prefix in prefixes if not any(name.startswith(prefix) for name in weights))


def _copy_rows(
    target: Tensor,
    value: Tensor,
    arrangement: tuple[int, ...] | None,
    pairs: list[tuple[int, int]],
    new_count: int,
    old_count: int,
) -> bool:
    """Copy the rows of the classes in ``pairs`` (new, old), and those that all classes share.

    Args:
        arrangement: the arrangement of the rows, see ``class_layers``; None for a tensor without rows of classes.

    Returns:
        Whether the rows were copied; not where the tensor has none, or the shapes differ otherwise.
    """
    if arrangement is None or value.shape[1:] != target.shape[1:]:
        return False
    groups, first, last, rows = (*arrangement, 1)[:4]
    if (len(target), len(value)) != tuple(groups * (first + count + last) * rows for count in (new_count, old_count)):
        return False
    target, value = (tensor.view(groups, -1, rows, *tensor.shape[1:]) for tensor in (target, value))
    target[:, :first].copy_(value[:, :first])
    target[:, first + new_count :].copy_(value[:, first + old_count :])
    for new, old in pairs:
        target[:, first + new].copy_(value[:, first + old])
    return True


def freeze_modules(model: nn.Module, freeze: int | str | Sequence[str]) -> list[nn.Module]:
    """Freeze parts of ``model``.

    Args:
        model: the model, not wrapped for distributed training.
        freeze: names of modules (or one name), such as ``['backbone', 'neck.0']``; or the number of parts of the
            backbone, from the stem on (each child is a part, of a list each item; a backbone with other parts lists
            the names of each in its attribute ``freeze_parts``).

    Returns:
        Their batch normalisation layers, for ``freeze_batch_norm``.

    Raises:
        ConfigError: a prefix names no module, or the backbone has fewer parts.
    """
    if isinstance(freeze, int):
        parts = backbone_parts(model)
        if freeze > len(parts):
            raise ConfigError(
                f'train_cfg.freeze is {freeze}, but the backbone has only {len(parts)} parts. To freeze more, '
                'name modules: train_cfg.freeze=backbone,neck.0'
            )
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


def backbone_parts(model: nn.Module) -> Sequence[tuple[str, ...]]:
    """Return the names of the modules of each part of a model's backbone, from the stem on.

    They are those of ``freeze_parts``; without it a part is a child, or an item of a child that is a list.
    """
    backbone = dict(model.named_children()).get('backbone', nn.Module())
    if isinstance(backbone, NamesParts):
        return backbone.freeze_parts
    parts: list[tuple[str, ...]] = []
    for name, child in backbone.named_children():
        is_list = isinstance(child, nn.ModuleList)
        parts += [(f'{name}.{i}',) for i in range(len(child))] if is_list else [(name,)]
    return parts


def freeze_batch_norm(layers: Sequence[nn.Module]) -> None:
    """Put batch normalisation layers into evaluation mode; to be called after each ``model.train()``."""
    for layer in layers:
        layer.eval()
