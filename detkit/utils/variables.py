"""Numbers in environment variables."""

from __future__ import annotations

import os

from detkit.utils.errors import ConfigError


def number_in_variable(variable: str, default: int | None = None, least: int = 0, most: int = 10**19 - 1) -> int:
    """Return the whole number that an environment variable holds.

    Args:
        variable: its name.
        default: what counts where it is not set, or is empty; None where it must be set.
        least: the smallest number that it may hold.
        most: the largest one.

    Raises:
        ConfigError: it holds something else, or nothing without a default.
    """
    text = os.environ.get(variable, '')
    if not text and default is not None:
        return default
    is_number = text.isascii() and text.isdecimal() and len(text) < 20
    if not is_number or not least <= int(text) <= most:
        limits = f'of at least {least}' if most == 10**19 - 1 else f'from {least} to {most}'
        limits = 'above 0' if (least, most) == (1, 10**19 - 1) else limits
        found = f'is {text[:40]!r}' if variable in os.environ else 'is not set'
        raise ConfigError(f'the environment variable {variable} {found}, but should be a whole number {limits}')
    return int(text)
