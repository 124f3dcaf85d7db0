"""The key, file and line of a value that a component's constructor refused."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config

from detkit.config.executed import plain
from detkit.config.keys import TOP_LEVEL_KEYS
from detkit.config.origins import KeyPath, Origins, dotted
from detkit.config.positions import TOP_POSITIONS
from detkit.config.resolve import origins_of
from detkit.utils.errors import ComponentError, ConfigError


@contextmanager
def located(config: Config | dict) -> Iterator[None]:
    """Name the key of ``config``, with its file and line, in the errors of components that are built inside."""
    try:
        yield
    except ConfigError as error:
        values = plain(config.to_dict() if isinstance(config, Config) else dict(config))
        parts = [(error.component, error.settings)] if isinstance(error, ComponentError) else []
        path, settings = _path_of(values, parts)
        if path is None:
            path = _path_in_text(values, str(error))
        if path is None and isinstance(error, ComponentError):  # a part that its owner chose
            path, settings = _path_of(values, error.owners)
        if path is None:
            raise
        raise ConfigError(describe(error, path, origins_of(config), settings)) from error


def describe(
    error: ConfigError, path: KeyPath, origins: Origins | None, settings: Mapping[str, Any] | None = None
) -> str:
    """Return the error's text with the key of the refused argument, and where that was set, in front.

    Args:
        error: the error.
        path: the component's path.
        origins: where the config's values were set, if known.
        settings: the component's arguments; those of the error by default.
    """
    if settings is None and isinstance(error, ComponentError):
        settings = error.settings
    while isinstance(settings, Mapping):
        found = {name: re.search(rf'\b{re.escape(str(name))}\b', str(error)) for name in settings}
        mentioned = {name: match.start() for name, match in found.items() if match}
        if not mentioned:  # the text may quote the value alone
            quoted = [name for name, value in settings.items() if isinstance(value, str) and repr(value) in str(error)]
            mentioned = dict.fromkeys(quoted[:1], 0)
        if not mentioned or path[-1] in mentioned:
            break
        first = min(mentioned, key=mentioned.get)
        path, settings = (*path, first), settings[first]
    where = f'{origins.blame(path)}: ' if origins is not None else ''
    where = '' if str(error).startswith(where) else where
    return f'{where}{error}' if dotted(path) in str(error) else f'{where}{dotted(path)}: {error}'


def _path_of(
    values: dict[str, Any], parts: Sequence[tuple[str, Mapping[str, Any]]]
) -> tuple[KeyPath | None, Mapping[str, Any] | None]:
    """Return path and arguments of the first component that the config has: of its type, with no other arguments.

    Of several places the one with the most of the arguments counts, and one in use before one in a table of variables.

    Args:
        values: the config.
        parts: names and arguments of components.
    """
    for component, settings in parts:
        found: dict[KeyPath, tuple[bool, int]] = {}
        for path, node in _dicts(values, ()):
            default = TOP_POSITIONS[path[0]].default_type if len(path) == 1 and path[0] in TOP_POSITIONS else None
            given = [key for key in node if key in settings]
            if node.get('type', default) == component and all(_same(settings[key], node[key]) for key in given):
                found[path] = (path[:1] != () and path[0] in TOP_LEVEL_KEYS, len(given))
        if found:
            return max(found, key=found.get), settings
    return None, None


def _same(built: Any, given: Any) -> bool:
    """Return whether an argument equals the config's value, or may have been built from it."""
    return plain(built) == given or isinstance(given, dict | list | tuple)


def _dicts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, dict]]:
    if isinstance(value, Mapping):
        yield path, value
    children = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in children:
        if isinstance(item, Mapping | list | tuple):
            yield from _dicts(item, (*path, key))


def _path_in_text(values: dict[str, Any], text: str) -> KeyPath | None:
    """Return the path of a dotted key that an error's text names and the config has."""
    for name in re.findall(r'\b[a-z_]+(?:\.\w+)+', text):
        node, path = values, tuple(name.split('.'))
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        if node is not None:
            return path
    return None
