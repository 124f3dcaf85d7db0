"""The checks of a config's top level that need no component."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from detkit.config.executed import Executed
from detkit.config.hints import did_you_mean, meant_keys
from detkit.config.keys import DICT_KEYS, GROUPS, PIPELINES, PLAIN_KEYS, REFUSED_KEYS, TOP_LEVEL_KEYS, WORDS
from detkit.config.origins import KeyPath, Origin, Origins
from detkit.config.signatures import arguments_of
from detkit.config.source import read_source
from detkit.config.value_types import check_value
from detkit.registry import HEADS
from detkit.utils.errors import ConfigError, nearest

# The folder of files that others are built on: these may define variables that only some of their children read.
_SHARED = '_base_'


def check_top_level(executed: Executed, path: Path, may_be_added: Callable[[str, Any], bool]) -> None:
    """Refuse names that nothing reads, values that their key cannot hold, and pipelines that no data loader uses.

    Args:
        executed: the config.
        path: its file.
        may_be_added: whether the config would be accepted with a dotted key and a value more.

    Raises:
        ConfigError: names the file and line of the name.
    """
    values, origins = executed.values, executed.origins
    for name, remedy in REFUSED_KEYS.items():
        if name in values:
            raise ConfigError(f'{origins.find((name,))}: {name} has no effect here: {remedy}')
    refuse_foreign_scope(values.get('default_scope'), f'{origins.find(("default_scope",))}: ')
    check_plain_values(values, origins)
    emptied = [key for keys in GROUPS for key in keys if key in values]
    check_groups({key: values[key] for key in emptied}, origins)
    _refuse_unread(executed, path, may_be_added)
    _refuse_unused_pipelines(executed, path)


def check_plain_values(values: dict[str, Any], origins: Origins) -> None:
    """Refuse values of the runner's plain keys that these cannot hold.

    Raises:
        ConfigError: names the key, what was found and what to write.
    """
    for name, kind in PLAIN_KEYS.items():
        if name in values:
            check_value(values[name], kind, (name,), origins)
    for name, keys in DICT_KEYS.items():
        if values.get(name) is not None:
            _check_dict(values[name], name, keys, origins)


def check_groups(values: Mapping[str, Any], origins: Origins | None, missing: bool = False) -> None:
    """Refuse a data loader, a loop or an evaluator that is None or [] where the others of its kind are given.

    Args:
        values: the config.
        origins: where its values were set; None where unknown.
        missing: whether a key that the config lacks is one that is None.

    Raises:
        ConfigError: names the key that is empty, and the others.
    """
    for keys in GROUPS:
        empty = [key for key in keys if values.get(key) in (None, []) and (missing or key in values)]
        given = [key for key in keys if values.get(key) not in (None, [])]
        if empty and given:
            where = f'{origins.find((empty[0],))}: ' if origins and empty[0] in values else ''
            raise ConfigError(
                f'{where}the config has {", ".join(given)} but no {" and no ".join(empty)}; give all or none (None).'
            )


def readable_names(executed: Executed) -> set[str]:
    """Return the top-level names that have an effect: the runner's keys, and the variables that a file reads."""
    names = executed.read & executed.assigned | set(TOP_LEVEL_KEYS) & executed.values.keys()
    return names | ({'img_size'} if takes_image_size(executed.values) else set())


def takes_image_size(values: dict[str, Any]) -> bool:
    """Return whether the model's head takes the variable ``img_size``."""
    return head_takes(values, 'img_size')


def head_takes(values: dict[str, Any], argument: str) -> bool:
    """Return whether the class of the model's head has the argument ``argument`` by name."""
    head = (values.get('model') or {}).get('head') if isinstance(values.get('model'), dict) else None
    kind = head.get('type') if isinstance(head, dict) else None
    factory = HEADS.get(kind) if isinstance(kind, str) else kind
    return callable(factory) and argument in arguments_of(factory).names


def _refuse_unread(executed: Executed, path: Path, may_be_added: Callable[[str, Any], bool]) -> None:
    readable = readable_names(executed)
    for name in executed.values:  # in the order of the files
        if name in readable or name in PIPELINES or name in TOP_LEVEL_KEYS:
            continue
        origin = executed.origins.find((name,))
        meant = meant_keys(name, executed.values, readable)
        shared = origin.file not in (None, path.resolve()) and _SHARED in origin.file.parts
        if shared and name not in WORDS and not nearest(name, readable, cutoff=0.8):
            continue
        meant = meant or [key for key in WORDS.get(name, ()) if may_be_added(key, executed.values[name])][:1]
        raise ConfigError(
            f'{origin}: nothing reads the top-level name {name!r}.{did_you_mean(meant) or _readers(name, executed)}'
        )


def _readers(name: str, executed: Executed) -> str:
    """Return a sentence on a file beside the config's bases that both sets and reads ``name``, if there is one."""
    for folder in dict.fromkeys(file.parent for file in executed.files if _SHARED in file.parts):
        for file in sorted(folder.glob('*.py')):
            source = read_source(file)
            if name in source.assigned and name in source.names_read:
                return f' {Origin(file)} reads it; take that file as a base to use it.'
    return ''


def used_pipelines(values: Mapping[str, Any]) -> set[str]:
    """Return the names of variables that hold a pipeline of their data loaders."""
    return {
        name
        for name, loaders in PIPELINES.items()
        if name in values and values[name] in [pipe for loader in loaders for pipe in pipelines_in(values.get(loader))]
    }


def _refuse_unused_pipelines(executed: Executed, path: Path) -> None:
    values, origins = executed.values, executed.origins
    for name, loaders in PIPELINES.items():
        if name not in values:
            continue
        used = [pipeline for loader in loaders for pipeline in pipelines_in(values.get(loader))]
        if not used and name not in executed.read:
            raise ConfigError(f'{origins.find((name,))}: {name} is defined, but there is no {" or ".join(loaders)}')
        if used and values[name] not in used:
            raise ConfigError(
                f'{origins.find((name,))}: {name} is defined, but {loaders[0]} uses another pipeline '
                f'({origins.find((loaders[0], "dataset", "pipeline"))}); write '
                f'{loaders[0]} = dict(dataset=dict(pipeline={name})) in {path.name}'
            )


def _check_dict(value: Any, name: str, keys: dict[str, Any], origins: Origins) -> None:
    if not isinstance(value, dict):
        example = next(iter(keys))
        raise ConfigError(f'{origins.find((name,))}: {name} is {value!r}, but must be a dict: dict({example}=...)')
    for key, item in value.items():
        if key not in keys:
            raise ConfigError(
                f'{origins.find((name, key))}: {name} has no key {key!r}; it takes {", ".join(keys)}.'
                f'{nearest(key, keys)}'
            )
        check_value(item, keys[key], (name, key), origins)


def refuse_foreign_scope(scope: Any, where: str = '') -> None:
    """Refuse a ``default_scope`` of another package: mmengine would import that package's registry.

    Raises:
        ConfigError: begins with ``where``.
    """
    if scope not in (None, 'detkit'):
        raise ConfigError(f"{where}default_scope is {scope!r}, but must be 'detkit'; leave it out")


def pipelines_in(loader: Any) -> list[list]:
    """Return the pipelines of all datasets of a data loader, wrapped ones included."""
    if isinstance(loader, list | tuple):
        return [pipeline for item in loader for pipeline in pipelines_in(item)]
    if not isinstance(loader, dict):
        return []
    found = [loader['pipeline']] if 'pipeline' in loader else []
    return found + [pipeline for key in ('dataset', 'datasets') for pipeline in pipelines_in(loader.get(key))]


def dataset_paths(loader: Any, path: KeyPath) -> Iterator[tuple[KeyPath, dict]]:
    """Yield the key path and config of each dataset of a data loader that wraps no other one."""
    if isinstance(loader, list | tuple):
        for i, item in enumerate(loader):
            yield from dataset_paths(item, (*path, i))
    elif isinstance(loader, dict):
        inner = [key for key in ('dataset', 'datasets') if loader.get(key) is not None]
        for key in inner:
            yield from dataset_paths(loader[key], (*path, key))
        if not inner and 'type' in loader and len(path) > 1:
            yield path, loader


def datasets_in(loader: Any) -> list[dict]:
    """Return the configs of all datasets of a data loader that wrap no other one."""
    return [dataset for _, dataset in dataset_paths(loader, ('',))]
