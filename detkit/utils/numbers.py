"""Numbers in texts: read from files, written with what they count, and the ones with the fewest decimals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ['count_text', 'fewest_digits', 'parse_float', 'parse_int', 'shortest_float32']

_DIGITS = (0, 1, 2, 3, 4, 5, 7, 9, 12)


def count_text(number: int, one: str, many: str = '') -> str:
    """Return a number with what it counts, in the plural (``many``, or ``one`` with an s) unless it is 1."""
    return f'{number:,} {one if number == 1 else many or f"{one}s"}'


def parse_float(text: str | bytes) -> float:
    """Return the number that a file's text means, as ``float`` does but without Python's ``_`` between digits.

    Raises:
        ValueError: it is no number.
    """
    _refuse_underscores(text)
    return float(text)


def parse_int(text: str | bytes) -> int:
    """Return the whole number that a file's text means, without ``_``, see ``parse_float``."""
    _refuse_underscores(text)
    return int(text)


def _refuse_underscores(text: str | bytes) -> None:
    if ('_' if isinstance(text, str) else b'_') in text:
        raise ValueError(f'{text!r} has an underscore')


def fewest_digits(values: np.ndarray, same: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return float64 values rounded to as few decimals as a reader can do with.

    Args:
        values: float64, which a reader can do with as they are.
        same: returns where other values read the same, in a shape that broadcasts to theirs.
    """
    shortest, found = values, np.zeros(values.shape, bool)
    for digits in _DIGITS:
        rounded = values.round(digits)
        reads_same = same(rounded) & ~found
        shortest = np.where(reads_same, rounded, shortest)
        found |= reads_same
        if found.all():
            break
    return shortest


def shortest_float32(values: np.ndarray) -> np.ndarray:
    """Return float32 values as the float64 of fewest decimals that are the same in float32."""
    return fewest_digits(values.astype(np.float64), lambda rounded: rounded.astype(np.float32) == values)
