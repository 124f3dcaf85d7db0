"""The differences between two configs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from mmengine.config import Config

from detkit.config.executed import plain
from detkit.config.origins import KeyPath, Origins, dotted
from detkit.config.show import shortened

ABSENT = object()
_WIDEST = 72


class Difference(NamedTuple):
    """A key, and its value in the first and in the second config; ``ABSENT`` where one has none.

    ``path`` is the key's path in the first config, ``other_path`` the one in the second: in a list of transforms or
    hooks the index may differ. ``key`` is the former as text, or the latter where the first config lacks it.
    """

    key: str
    first: Any
    second: Any
    path: KeyPath = ()
    other_path: KeyPath = ()


def config_differences(first: Config, second: Config) -> list[Difference]:
    """Return the values in which two configs differ, in the order of the first, then those that the second alone has.

    Dicts, and lists of one length, are compared item by item. Lists of components (dicts with ``type``) are aligned by
    their types, so that an added transform is one difference. Anything else differs as a whole.
    """
    return [
        Difference(dotted(other_path if one is ABSENT else path), one, other, path, other_path)
        for path, other_path, one, other in _walk(plain(first.to_dict()), plain(second.to_dict()), (), ())
    ]


def difference_lines(
    differences: Sequence[Difference], names: tuple[str, str], origins: tuple[Origins, Origins] | None = None
) -> Iterator[str]:
    """Return three lines for each difference: the key, and the value in each config behind the config's name.

    Args:
        differences: the result of ``config_differences``.
        names: names of the two configs.
        origins: where their values were set, written behind the values; None leaves it out.
    """
    name_width = max(map(len, names))
    for difference in differences:
        yield difference.key
        values = (difference.first, difference.second)
        texts = [f'  {name:<{name_width}}  {shown(value)}' for name, value in zip(names, values, strict=True)]
        width = min(max(map(len, texts)), _WIDEST)
        for side, path in enumerate((difference.path, difference.other_path)):
            known = origins is not None and values[side] is not ABSENT
            yield f'{texts[side]:<{width}}  # {origins[side].find(path)}' if known else texts[side]


def shown(value: Any) -> str:
    """Return a value as the table of differences writes it, long lists shortened."""
    return '(absent)' if value is ABSENT else shortened(value)


Side = tuple[KeyPath, KeyPath, Any, Any]


def _walk(first: Any, second: Any, path: KeyPath, other_path: KeyPath) -> Iterator[Side]:
    if isinstance(first, dict) and isinstance(second, dict):
        for key in {**first, **second}:
            yield from _walk(first.get(key, ABSENT), second.get(key, ABSENT), (*path, key), (*other_path, key))
    elif _has_components(first) and _has_components(second):
        yield from _walk_components(first, second, path, other_path)
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from _walk(one, other, (*path, index), (*other_path, index))
    elif first is ABSENT or second is ABSENT or first != second:
        yield path, other_path, first, second


def _walk_components(
    first: Sequence[dict], second: Sequence[dict], path: KeyPath, other_path: KeyPath
) -> Iterator[Side]:
    types = [[str(part['type']) for part in side] for side in (first, second)]
    for kind, start, stop, other_start, other_stop in SequenceMatcher(None, *types, autojunk=False).get_opcodes():
        if kind == 'equal':
            for index, other in zip(range(start, stop), range(other_start, other_stop), strict=True):
                yield from _walk(first[index], second[other], (*path, index), (*other_path, other))
            continue
        for index in range(start, stop):
            yield (*path, index), (*other_path, other_start), first[index], ABSENT
        for other in range(other_start, other_stop):
            yield (*path, stop), (*other_path, other), ABSENT, second[other]


def _has_components(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(part, dict) and 'type' in part for part in value)
    )
