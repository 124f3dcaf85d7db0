"""Paths that begin with ``~/``, which a shell replaces only where they stand alone."""

from __future__ import annotations

import os
from typing import Any

__all__ = ['with_home']


def with_home(value: Any) -> Any:
    """Return a value whose texts that begin with ``~/`` begin with the user's home, in lists, tuples and dicts, too.

    Others stay as they are, as does everything where the home is unknown.
    """
    if isinstance(value, str):
        return os.path.expanduser(value) if value.startswith('~/') else value
    if isinstance(value, dict):
        return {key: with_home(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(with_home, value))
    return value
