"""Reading numbers from text files."""

from __future__ import annotations

__all__ = ['parse_float', 'parse_int']


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
