"""Steps that every converter shares: name tables, the config that describes a model, and writing the checkpoint."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detkit.config import config_name, load_config
from detkit.config.execute import execute
from detkit.config.top_level import datasets_in
from detkit.converters.inert_pickle import TorchArchive
from detkit.engine.checkpoint import describe_model, save_checkpoint
from detkit.engine.checkpoint_content import MAX_CONFIG
from detkit.engine.run_folder import display_path
from detkit.registry import DETECTORS
from detkit.utils.errors import CheckpointError, ConfigError, shorten
from detkit.utils.text_files import read_text
from detkit.utils.torch_files import has_finite_sum, is_zip
from detkit.utils.without_memory import without_memory

Rows = tuple[tuple[str, str], ...]

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


@dataclass(frozen=True)
class Description:
    """The config that describes a converted model.

    Attributes:
        config: the resolved config as the checkpoint holds it, with the file's class names.
        file: the config file that it comes from.
        options: the ``--cfg-options`` that give ``file`` the model's size.
        differences: what the file's model has that ``file`` with ``options`` does not describe, such as 'classes'.
        same_classes: whether ``file`` has the same class names.
        changes: further options that give ``file`` this model, whatever its classes.
    """

    config: dict[str, Any]
    file: Path
    options: dict[str, Any]
    differences: tuple[str, ...] = ()
    same_classes: bool = True
    changes: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def model(self) -> nn.Module:
        """The model without memory or initial values: its names and shapes count."""
        with without_memory():
            return DETECTORS.build(copy.deepcopy(self.config['model']))

    def finish(
        self,
        source: Path,
        configs: Path,
        state: dict[str, Tensor],
        project: str,
        label: str,
        by: str,
        notes: Sequence[str] = (),
        custom: str | None = None,
    ) -> Conversion:
        """Return the conversion of a file whose model this is.

        Args:
            source: the file.
            configs: detkit's folder of that name.
            state: its tensors under detkit's names.
            project: where it is from.
            label: the model's name for people.
            by: what says the class names, see ``find_classes``.
            notes: further lines for people on what was read.
            custom: see ``advice``.
        """
        inside = self.file.resolve().is_relative_to(configs.resolve())
        return Conversion(
            state,
            self.config,
            f'configs/{self.file.parent.name}/{self.file.name}' if inside else self.file.name,
            {'file': source.name, 'project': project},
            report=(
                f'read     {source}: {label}, {shown_classes(self.config["classes"])}, in the layout of {project}',
                f'classes  as {by} has them',
                *notes,
            ),
            size=f'{sum(param.numel() for param in self.model.parameters()):,} parameters',
            advice=lambda target: self.advice(target, custom),
        )

    def advice(self, target: Path, custom: str | None = None, data: Mapping[str, str] | None = None) -> list[str]:
        """Return lines that name the config that fits, and the commands to go on with.

        Args:
            target: the checkpoint.
            custom: the config to train with on other data, which is beside ``file``.
            data: the options that name those data; by default a data.yaml.
        """
        shown, options = _shown_config(self.file), shown_options(self.options)
        if self.differences:
            lines = [
                f"config   {shown}{options} with other {', '.join(self.differences)}; write '-' for it, as the "
                'checkpoint holds it',
                f'predict  detkit predict - {target} photo.jpg',
            ]
        else:
            lines = [f'config   {shown}{options}', f'predict  detkit predict {shown} {target} photo.jpg{options}']
            if self.same_classes:
                lines.append(f'test     detkit test {shown} {target}{options}')
        if custom and self.file.with_name(custom).is_file():
            data = data or {'data_yaml': 'path/to/data.yaml'}
            options = shown_options({**data, 'load_from': str(target), **self.options, **self.changes})
            lines.append(f'train    detkit train {_shown_config(self.file.with_name(custom))}{options}')
        return lines


def _shown_config(file: Path) -> str:
    return config_name(file) or display_path(file)


class KeyTable:
    """The names of a model's parameters and buffers, in another project and in detkit.

    Args:
        rows: pairs of prefixes or whole names, theirs and detkit's, in which ``{}`` is a number. The rest of a name
            (``conv.weight``, ``bn.running_mean``, …) is the same on both sides. The first row that fits counts.
        dropped: a regular expression of their names that detkit does not need.
    """

    def __init__(self, rows: Rows, dropped: str = r'(?!)') -> None:
        self._rows = tuple(rows)
        self._dropped = dropped

    # Compiled when a name is looked up: there are thousands of rows, and a conversion needs those of one table.
    @cached_property
    def _to_detkit(self) -> list[tuple[re.Pattern, str]]:
        return [(_pattern(theirs), ours) for theirs, ours in self._rows]

    @cached_property
    def _to_theirs(self) -> list[tuple[re.Pattern, str]]:
        return [(_pattern(ours), theirs) for theirs, ours in self._rows]

    def to_detkit(self, name: str) -> str | None:
        """Return detkit's name; None for a tensor that detkit does not need.

        Raises:
            KeyError: no row fits.
        """
        return None if re.match(self._dropped, name) else _rename(name, self._to_detkit)

    def to_theirs(self, name: str) -> str:
        """Return the inverse of ``to_detkit``."""
        return _rename(name, self._to_theirs)

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return their state dict under detkit's names; the tensors are the same objects.

        Raises:
            KeyError: no row fits a name.
        """
        return {ours: tensor for name, tensor in state.items() if (ours := self.to_detkit(name)) is not None}


@cache
def _pattern(prefix: str) -> re.Pattern:
    return re.compile(re.escape(prefix).replace(r'\{\}', r'(\d+)') + r'(?=\.|$)')


def _rename(name: str, patterns: list[tuple[re.Pattern, str]]) -> str:
    for pattern, target in patterns:
        if match := pattern.match(name):
            return target.format(*match.groups()) + name[match.end() :]
    raise KeyError(name)


def renamed(tensors: Mapping[Any, Tensor], rename: Callable[[Any], str]) -> dict[str, Tensor]:
    """Return tensors by other names; a tensor that is there under two names counts once.

    Raises:
        CheckpointError: two that differ get one name.
    """
    found: dict[str, Tensor] = {}
    given: dict[str, Any] = {}
    for name, tensor in tensors.items():
        other = found.setdefault(new := rename(name), tensor)
        first = given.setdefault(new, name)
        if other is not tensor and not (other.shape == tensor.shape and torch.equal(other, tensor)):
            raise CheckpointError(
                f'{first} and {name} are one parameter, {new}, and have different values; save the weights of the bare '
                'model, each under one name.'
            )
    return found


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint of detkit; nothing in it is run.

    Raises:
        CheckpointError: it is a zip archive that is damaged.
    """
    if not is_zip(path):
        return False
    with TorchArchive(path) as archive:
        content = archive.content
    return isinstance(content, Mapping) and isinstance(content.get('meta'), Mapping) and 'state_dict' in content


def sizes_of(file: Path) -> dict[str, Any]:
    """Return the sizes that a config may have, its variable ``sizes``; empty where it has none.

    Raises:
        CheckpointError: the file is missing.
    """
    return variables_of(file, {}).get('sizes') or {}


def variables_of(file: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of a config with those of ``options`` that replace them.

    Raises:
        CheckpointError: the file is missing.
    """
    return execute(_existing(file), {name: value for name, value in options.items() if '.' not in name}).values


def resolve_config(file: Path, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the config that describes a model, resolved, see ``load_config``.

    Raises:
        CheckpointError: the file is missing.
    """
    return load_config(_existing(file), options, need_classes=False).to_dict()


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise CheckpointError(f"{file} is missing, which describes the model; give the folder of detkit's configs.")
    return file


def resolve_model(
    file: Path, options: Mapping[str, Any], family: str, example: str, fits: Callable[[Mapping[str, Any]], bool]
) -> dict[str, Any]:
    """Return the resolved config of a model of the family.

    Args:
        file, options: see ``resolve_config``.
        family: the name of such models for people.
        example: a config of detkit of such a model, below ``configs``.
        fits: says whether a head's config is that of such a model.

    Raises:
        CheckpointError: the file is missing, wrong, or describes another model, or none with its classes.
    """
    try:
        resolved = resolve_config(file, options)
    except ConfigError as error:
        raise CheckpointError(f'{file} cannot serve as a description of the model: {error}') from error
    if not fits(resolved.get('model', {}).get('head', {})) or not resolved.get('classes'):
        raise CheckpointError(f'{file} describes no {family} with its classes; give one such as configs/{example}.')
    return resolved


def set_classes(config: dict[str, Any], classes: Sequence[str]) -> None:
    """Put other class names into a resolved config: its list, its model's head, and its datasets."""
    config['classes'] = tuple(classes)
    config['model']['head']['num_classes'] = len(classes)
    for loader in _LOADERS:
        for dataset in datasets_in(config.get(loader)):
            if 'classes' in (dataset.get('metainfo') or {}):
                dataset['metainfo']['classes'] = tuple(classes)


def read_names(path: Path) -> tuple[str, ...]:
    """Read class names, one a line.

    Raises:
        CheckpointError: the file does not exist.
        DataError: it cannot be read, or is no text: names in an unknown encoding would be other names.
    """
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist; give a file with the class names, one a line.')
    lines = (line.strip() for line in read_text(path, 'file of class names').splitlines())
    return tuple(line for line in lines if line)


@dataclass(frozen=True)
class Conversion:
    """A file of another project as a checkpoint of detkit, not yet written.

    Attributes:
        state: tensors under detkit's names.
        config: the resolved config, with ``classes`` and ``task``; None for weights that are no whole model.
        config_file: the config it came from, such as ``'configs/yolov8/det_coco.py'``.
        origin: where the weights are from: ``file``, ``project``, and what else is known.
        report: lines for people on what was read.
        size: what a line for people says of the result, such as '3,011,043 parameters'; empty for nothing.
        advice: returns lines for people on how to go on with the checkpoint that is written.
        keypoints: what the file says about its keypoints.
    """

    state: dict[str, Tensor]
    config: dict[str, Any] | None
    config_file: str
    origin: dict[str, Any]
    report: tuple[str, ...] = ()
    size: str = ''
    advice: Callable[[Path], list[str]] = lambda target: []
    keypoints: dict[str, Any] = field(default_factory=dict)

    def checkpoint(self) -> dict[str, Any]:
        """Return the content of the checkpoint, as training writes it.

        Raises:
            CheckpointError: its config would be larger than that of any checkpoint.
        """
        classes, task = (self.config['classes'], self.config['task']) if self.config else ((), None)
        meta = describe_model(self.config, self.config_file, classes, task, self.keypoints)
        if len(meta.get('config') or '') > MAX_CONFIG:
            raise CheckpointError(
                f'{self.origin["file"]} has class names of {sum(map(len, classes)):,} characters, with which no '
                'checkpoint is read; give shorter ones.'
            )
        return {'meta': {**meta, 'converted_from': self.origin}, 'state_dict': self.state}

    def save(self, target: Path) -> list[str]:
        """Write the checkpoint; its folder is made where it is missing.

        Returns:
            Lines for people: what was read and written, and how to go on.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(self.checkpoint(), target)
        wrote = f'wrote    {target}{f": {self.size}" if self.size else ""}'
        return [*self.report, *self._infinite(), wrote, *self.advice(target)]

    def _infinite(self) -> list[str]:
        """Return a line for people on the tensors that hold infinite numbers; none where there are none."""
        names = [
            name
            for name, tensor in self.state.items()
            if tensor.is_floating_point() and not has_finite_sum(tensor) and tensor.isinf().any()
        ]
        if not names:
            return []
        return [
            f'note     infinite numbers in {len(names)} of {len(self.state)} tensors ({shorten(names)}), as half '
            'precision makes of those above 65,504: see whether the model still finds what it should'
        ]


def shown_options(options: Mapping[str, Any]) -> str:
    """Return `` --cfg-options key=value ...`` as a shell takes it; an empty string where there are none."""
    words = []
    for key, value in options.items():
        word = f'{key}={value}' if isinstance(value, str) else f'{key}={value!r}'.replace(' ', '')
        words.append(f'"{word}"' if set(word) & set('([{') else word)
    return f' --cfg-options {" ".join(words)}' if words else ''


def shown_classes(names: Sequence[str], count: int = 3) -> str:
    """Return the number of classes and the first few names."""
    noun = 'class' if len(names) == 1 else 'classes'
    return f'{len(names)} {noun} ({", ".join(names[:count])}{", ..." if len(names) > count else ""})'
