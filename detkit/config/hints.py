"""Suggestions for a key that a config does not have."""

import difflib
from collections.abc import Callable, Iterable
from typing import Any

from detkit.config.keys import TOP_LEVEL_KEYS, WORDS
from detkit.config.origins import KeyPath, dotted


def meant_keys(key: str, values: dict[str, Any], variables: Iterable[str]) -> list[str]:
    """Return the keys of a config that the unknown ``key`` may mean, at most three.

    Args:
        key: what was written: a name, or a dotted key.
        values: the config.
        variables: its top-level names that something is built from, and the keys of the runner.
    """
    variables = set(variables)
    everything = _dotted_keys(values, variables)
    parent, _, last = key.rpartition('.')
    candidates = [name for name in WORDS.get(key.lower(), ()) if name in variables or name in everything][:1]
    if not candidates:
        # A key of a table such as sizes is not what an unknown name means.
        candidates = [path for path in everything if f'.{path}'.endswith(f'.{key}') and _is_setting(path)]
    if not candidates and parent:  # elsewhere below the same component
        root, _, rest = key.partition('.')
        candidates = [path for path in everything if path.startswith(f'{root}.') and path.endswith(f'.{last}')]
        candidates += [name for name in WORDS.get(last, ()) if name.startswith(f'{root}.') and name in everything]
    if not candidates and parent:  # a sibling, or the same key below a similar name
        children = [path.rpartition('.')[2] for path in everything if path.rpartition('.')[0] == parent]
        candidates = [f'{parent}.{name}' for name in difflib.get_close_matches(last, children)]
        roots = [f'{name}.{rest}' for name in difflib.get_close_matches(root, variables)]
        candidates += [name for name in roots if name in everything]
    if not candidates:
        names = variables if not parent else everything
        candidates = difflib.get_close_matches(key, names, 3, 0.8 if parent else 0.6)
    return [name for name in dict.fromkeys(candidates) if name != key][:3]


def did_you_mean(keys: Iterable[str], form: Callable[[str], str] = repr) -> str:
    """Return " Did you mean 'a' or 'b'?" with its leading space, or nothing for no keys; ``form`` writes each key."""
    written = [form(key) for key in keys]
    return f' Did you mean {" or ".join(written)}?' if written else ''


def _is_setting(path: str) -> bool:
    root, _, rest = path.partition('.')
    return not rest or root in TOP_LEVEL_KEYS


def _dotted_keys(values: dict[str, Any], variables: set[str]) -> list[str]:
    """Return every key below the top-level names in ``variables``, those nearest to the top first."""
    found: list[KeyPath] = []

    def collect(value: Any, path: KeyPath) -> None:
        if path:
            found.append(path)
        if isinstance(value, dict):
            for name, item in value.items():
                names_one = '.' not in str(name)  # no option can name any other
                if names_one and (path or name in variables):
                    collect(item, (*path, name))
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            for i, item in enumerate(value):
                collect(item, (*path, i))

    collect(values, ())
    return [dotted(path) for path in sorted(found, key=len)]
