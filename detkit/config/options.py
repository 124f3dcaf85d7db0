"""``--cfg-options key=value``: parsing, and setting dotted keys in a config that has been read."""

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from detkit.config.executed import plain
from detkit.config.keys import DELETE_KEY
from detkit.config.origins import COMMAND_LINE, KeyPath, Origins, dotted
from detkit.utils.errors import ConfigError
from detkit.utils.front_end import changing

# Characters that a regular expression has and a list of names has not.
_EXPRESSION = re.compile(r'[\\*+?|^$]')


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        key: without its '+'.
        value: as it was parsed.
        adds: whether it may add a key (``+key=value``).
        of_dict: whether it is an item of a dict, as Python's functions are given, and no text.
    """

    key: str
    value: Any
    adds: bool = False
    of_dict: bool = False

    def with_key(self, key: str) -> str:
        """Return how the option is written with another key, for an error."""
        return changing(key, self.value) if self.of_dict else f'{key}={self.value}'

    @property
    def path(self) -> KeyPath:
        # Python refuses to convert thousands of digits.
        parts = self.key.split('.')
        return tuple(int(part) if part.isdecimal() and len(part) < 19 else part for part in parts)


def parse_options(
    options: Mapping[str, Any] | Iterable[str | Option] | None, argument: str | None = None
) -> list[Option]:
    """Read options as the command line gives them (``['a.b=1', '+c=x']``), or as a dict (values are taken as they are).

    ``argument`` is the one that they were given by, for errors; by default the one for changes to a config.

    Raises:
        ConfigError: an option is no ``key=value``, or a dict's key no text.
    """
    if options is None:
        return []
    if isinstance(options, str):
        options = [options]
    of_dict = isinstance(options, Mapping)
    items = options.items() if of_dict else (_split(text, argument) for text in options)
    return [item if isinstance(item, Option) else _option(*item, argument, of_dict) for item in items]


def _option(key: str, value: Any, argument: str | None, of_dict: bool) -> Option:
    if not isinstance(key, str) or not key.strip('+. '):
        raise ConfigError(
            f"{argument or changing()}: {key!r} is no key; write for example {{'data_root': 'data/mine'}}"
        )
    # A dict always replaces the one before it, which is what the key says.
    return Option(key.removeprefix('+'), without_delete_keys(plain(value)), key.startswith('+'), of_dict)


def without_delete_keys(value: Any) -> Any:
    """Return a value without the keys ``_delete_`` of its dicts, which a config's final form does not have."""
    if isinstance(value, dict):
        return {key: without_delete_keys(item) for key, item in value.items() if key != DELETE_KEY}
    return value


def _split(text: str | Option, argument: str | None) -> tuple[str, Any] | Option:
    if isinstance(text, Option):
        return text
    key, equals, value = text.partition('=')
    key = key.strip()
    if not equals or not key.strip('+. '):
        raise ConfigError(
            f'{argument or changing()}: {text!r} is no key=value; write for example data_root=data/coco8-seg'
        )
    return key, parse_value(value)


def parse_value(text: str) -> Any:
    """Return the value of ``text``: a Python literal, true/false/none in any case, ``a,b`` as a list, else a string."""
    text = text.strip()
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    else:
        # 1,2 without brackets is a list, as a,b is.
        return list(value) if isinstance(value, tuple) and not text.startswith('(') else value
    words = {'true': True, 'false': False, 'none': None}
    if text.lower() in words:
        return words[text.lower()]
    for (opening, closing), kind in (('[]', list), ('()', tuple)):
        if text.startswith(opening) and text.endswith(closing):
            parts = _split_at_commas(text[1:-1])
            if parts is None or (kind is tuple and len(parts) == 1 and _EXPRESSION.search(text)):
                return text
            return kind(parse_value(part) for part in parts if part.strip())
    parts = _split_at_commas(text) or [text]
    if len(parts) == 1:
        return text
    return [parse_value(part) for part in (parts if parts[-1].strip() else parts[:-1])]


def _split_at_commas(text: str) -> list[str] | None:
    """Return the parts between commas that are in no brackets; None where a bracket closes that none has opened."""
    parts, depth, quote, start = [], 0, '', 0
    for i, letter in enumerate(text):
        if quote:
            quote = '' if letter == quote else quote
        elif letter in '\'"':
            quote = letter
        elif letter in '([{':
            depth += 1
        elif letter in ')]}':
            depth -= 1
            if depth < 0:
                return None
        elif letter == ',' and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def set_option(
    values: dict[str, Any], option: Option, origins: Origins, missing: Callable[[KeyPath, Any], str]
) -> None:
    """Set one key of the config ``values`` in place.

    Args:
        values: the config.
        option: the key and its value.
        origins: where values were set; the key is noted as set on the command line.
        missing: returns the error's text for a path that does not exist, given the path and what its parent holds.

    Raises:
        ConfigError: the key does not exist and the option has no '+'.
    """
    path = option.path
    node: Any = values
    for depth, part in enumerate(path[:-1]):
        if option.adds and isinstance(node, dict) and node.get(part) is None:
            node[part] = {}
        node = _step(node, part, path[: depth + 1], missing)
    if not (option.adds and isinstance(node, dict)):
        _step(node, path[-1], path, missing)
    last = path[-1] if isinstance(node, list) or path[-1] in node else str(path[-1])
    node[last] = option.value
    origins.set(path, COMMAND_LINE)


def _step(node: Any, part: str | int, path: KeyPath, missing: Callable[[KeyPath, Any], str]) -> Any:
    """Return ``node[part]``, or raise the error that says what there is instead."""
    if isinstance(node, dict):
        part = part if part in node else str(part)
        if part in node:
            return node[part]
    elif isinstance(node, list | tuple) and isinstance(part, int) and part < len(node):
        if isinstance(node, tuple):
            raise ConfigError(f'{changing()}: {dotted(path[:-1])} is a tuple; give it as a whole')
        return node[part]
    raise ConfigError(f'{changing()}: {missing(path, node)}')
