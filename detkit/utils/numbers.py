"""Numbers in texts: read from files, and written with what they count."""

from __future__ import annotations

__all__ = ['count_text', 'parse_float', 'parse_int']


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
