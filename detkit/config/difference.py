"""What differs between two configs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from mmengine.config import Config

from detkit.config.execute import plain
from detkit.config.origins import dotted

ABSENT = object()


class Difference(NamedTuple):
    """A key, and its value in the first and in the second config; ``ABSENT`` where one has none."""

    key: str
    first: Any
    second: Any


def config_differences(first: Config, second: Config) -> list[Difference]:
    """What the second config says otherwise, in the order of the first, then what the second alone has.

    Values are compared as deep as both are dicts, or lists of one length; what is left differs as a whole.
    """
    return [Difference(dotted(path), one, other)
            for path, one, other in _walk(plain(first.to_dict()), plain(second.to_dict()), ())]


def shown(value: Any) -> str:
    """A value as the table of differences writes it."""
    return '(absent)' if value is ABSENT else repr(value)


def _walk(first: Any, second: Any, path: tuple) -> Iterator[tuple[tuple, Any, Any]]:
    if isinstance(first, dict) and isinstance(second, dict):
        for key in {**first, **second}:
            yield from _walk(first.get(key, ABSENT), second.get(key, ABSENT), (*path, key))
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        for place, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from _walk(one, other, (*path, place))
    elif first is ABSENT or second is ABSENT or first != second:
        yield path, first, second
