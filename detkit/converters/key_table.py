"""Tables of parameter names: another project's prefixes <-> detkit's.

A row is a pair of prefixes, ``{}`` standing for a number; what follows a prefix (``conv.weight``, ``bn.running_mean``,
…) is the same on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Rows = tuple[tuple[str, str], ...]
Patterns = list[tuple[re.Pattern, str]]


def compile_rows(rows: Iterable[tuple[str, str]]) -> Patterns:
    """For ``rename``, from the first name of each row to the second."""
    return [(re.compile(re.escape(source).replace(r'\{\}', r'(\d+)') + r'(?=\.)'), target) for source, target in rows]


def rename(name: str, patterns: Patterns) -> str:
    """A parameter's name on the other side.

    Raises:
        KeyError: no row fits.
    """
    for pattern, target in patterns:
        if match := pattern.match(name):
            return target.format(*match.groups()) + name[match.end() :]
    raise KeyError(name)
