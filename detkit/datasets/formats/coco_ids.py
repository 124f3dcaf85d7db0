"""The ids of a COCO file's entries: their indices, and how messages show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from detkit.datasets.formats.coco_json import show

__all__ = ['indices_of', 'kinds_of', 'typed_id', 'value_at']

_KINDS = {int: 'whole number', float: 'fraction', str: 'text'}


def indices_of(ids: np.ndarray, numbers: Mapping[int | float | str, int]) -> np.ndarray:
    """Return ``(M,)`` int64: the number that ``numbers`` has of each id, -1 for one that has none."""
    known = list(numbers)
    if ids.dtype != object and all(type(own) is int and abs(own) < 1 << 62 for own in known):
        order = np.argsort(np.array(known, np.int64), kind='stable')
        values = np.array(known, np.int64)[order]
        places = np.minimum(np.searchsorted(values, ids), max(len(values) - 1, 0))
        if not len(values):
            return np.full(len(ids), -1, np.int64)
        found = np.fromiter(numbers.values(), np.int64, len(known))[order][places]
        return np.where(values[places] == ids, found, -1)
    return np.fromiter((numbers.get(own, -1) for own in ids.tolist()), np.int64, len(ids))


def value_at(column: np.ndarray, i: int) -> int | float | str | None:
    """Return an id of a column as a plain value."""
    value = column[i]
    return value.item() if isinstance(value, np.generic) else value


def typed_id(value: int | float | str | None) -> str:
    """Return an id with its type, which is what often differs."""
    return f'{show(repr(value))} ({_KINDS.get(type(value), "no id")})'


def kinds_of(ids: Iterable[int | float | str]) -> str:
    """Return what the ids of a list are, with an example."""
    ids = list(ids)
    kinds = sorted({f'{_KINDS[type(own)]}s'.replace('texts', 'text') for own in ids})
    return f'{" or ".join(kinds)}, such as {show(repr(ids[0]))}' if ids else 'none at all'
