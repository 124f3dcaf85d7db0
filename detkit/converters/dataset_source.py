"""The datasets that a conversion reads: those of a config, or a folder in a named format."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from detkit.analysis.data.annotations_table import plain_dataset
from detkit.config.options import parse_options
from detkit.config.signatures import arguments_of
from detkit.datasets.base import DetDataset
from detkit.registry import DATASETS
from detkit.utils.errors import ConfigError, nearest

__all__ = ['datasets_of_config', 'datasets_of_folder', 'format_names']

# Broken entries are part of a conversion's report, and objects that training leaves out are converted, too.
_WHOLE = dict(max_skipped=1.0, test_mode=True)


def datasets_of_config(config: Config, splits: Sequence[str]) -> dict[str, Any]:
    """Return the built dataset of each of a config's loaders, as tests have it and without a pipeline.

    Raises:
        ConfigError: there is no such loader.
        DataError: a dataset cannot be read.
    """
    datasets = {}
    for split in splits:
        loader = config.get(f'{split}_dataloader')
        if not loader or not loader.get('dataset'):
            there = [key.removesuffix('_dataloader') for key in config if key.endswith('_dataloader') and config[key]]
            raise ConfigError(
                f'{config.filename} has no {split}_dataloader with a dataset; it has one for '
                f'{", ".join(there) or "no split"}. Name splits with --split.'
            )
        datasets[split] = DATASETS.build(plain_dataset(loader['dataset'], **_WHOLE))
    return datasets


def datasets_of_folder(name: str, root: str, options: Sequence[str], splits: Sequence[str]) -> dict[str, Any]:
    """Return the built dataset of each split of a folder.

    Args:
        name: the format, a key of ``format_names`` (with any '_', '-' and capitals), or the dataset class's name.
        root: the folder, ``data_root`` of the dataset.
        options: further arguments as ``key=value``; ``{split}`` in a value becomes the split's name.
        splits: names of the splits.

    Raises:
        ConfigError: no such format is read, or its dataset has no such argument.
        DataError: a dataset cannot be read.
    """
    known = format_names()
    kind = known.get(_short(name))
    if kind is None:
        raise ConfigError(f'no format {name!r} is read, only {", ".join(sorted(known))}.{nearest(name, known)}')
    if len(splits) > 1 and not any('{split}' in option for option in options):
        raise ConfigError(
            f'{len(splits)} splits ({", ".join(splits)}) would be read from the same files: write {{split}} in the '
            'value of an option where their names differ, or name one split with --split'
        )
    datasets = {}
    for split in splits:
        cfg: dict[str, Any] = {'type': kind, 'data_root': root, **_WHOLE}
        for option in parse_options([text.replace('{split}', split) for text in options], '--options'):
            _set(cfg, option.key, option.value, kind)
        datasets[split] = DATASETS.build(cfg)
    return datasets


def format_names() -> dict[str, str]:
    """Return the formats that are read: short name ('voc', 'imagefolder') -> registered name of the dataset class."""
    kinds = {name: DATASETS.get(name) for name in DATASETS.names()}
    return {
        _short(name): name for name, kind in kinds.items() if inspect.isclass(kind) and issubclass(kind, DetDataset)
    }


def _short(name: str) -> str:
    return re.sub(r'[^a-z0-9]', '', re.sub(r'(txt)?dataset$', '', name.lower()))


def _set(cfg: dict[str, Any], key: str, value: Any, kind: str) -> None:
    *parents, last = key.split('.')
    names = arguments_of(DATASETS.get(kind)).names
    first = parents[0] if parents else last
    if first not in names:
        raise ConfigError(
            f'--options: {kind} has no argument {first!r}.{nearest(first, names)} It has {", ".join(names)}'
        )
    for parent in parents:
        cfg = cfg.setdefault(parent, {})
        if not isinstance(cfg, dict):
            raise ConfigError(f'--options: {parent} of {key} has a value already')
    cfg[last] = value
