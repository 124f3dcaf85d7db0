"""Errors for mistakes that a user can correct. Command lines print their text alone, without a traceback."""

import os
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher, get_close_matches
from typing import Any


class DetkitError(Exception):
    """A mistake that a user can correct. The text says what was wrong, where, what was expected, and what to do."""


class ConfigError(DetkitError):
    """A config file, or an option given on the command line, is wrong."""


class ComponentError(ConfigError):
    """A component's constructor refused a value that a config gave it.

    Attributes:
        component: the registered name.
        settings: the arguments that it was given.
    """

    def __init__(self, text: str, component: str, settings: Mapping[str, Any]) -> None:
        super().__init__(text)
        self.component = component
        self.settings = settings


class DataError(DetkitError):
    """A folder, an annotation file or an image is missing or wrong."""


class CheckpointError(DetkitError):
    """A checkpoint is missing, truncated, foreign, or does not fit the model."""


def nearest(name: object, choices: Iterable[str], count: int = 3, cutoff: float = 0.6) -> str:
    """Return a hint at the names closest to ``name``, to be appended to an error's text.

    Args:
        name: the name that was not found.
        choices: the names that exist.
        count: the number of names in the hint, at most.
        cutoff: the least similarity (0 to 1) of a name in the hint.

    Returns:
        ``" Did you mean 'a' or 'b'?"`` (with its leading space), or an empty string when nothing is close.
    """
    by_lower_case = {str(choice).lower(): str(choice) for choice in choices}
    found = [by_lower_case[key] for key in get_close_matches(str(name).lower(), by_lower_case, n=count, cutoff=cutoff)]
    if not found:
        return ''
    quoted = [repr(choice) for choice in found]
    return f' Did you mean {" or ".join(quoted)}?'


def nearest_first(name: object, choices: Iterable[object], count: int = 10) -> str:
    """Return at most ``count`` of ``choices``, the most similar to ``name`` first, as an error lists them."""
    texts = [str(choice) for choice in choices]
    ordered = sorted(texts, key=lambda text: -_similarity(str(name), text))  # stable: ties keep their order
    rest = len(ordered) - count
    return ', '.join(ordered[:count]) + (f', and {rest} more' if rest > 0 else '') if texts else '(none)'


def working_folder(*parts: str | os.PathLike) -> str:
    """Return " (working directory ...)" for an error on a path that starts from it, and nothing for an absolute one.

    Args:
        *parts: folders and name of the path, as ``os.path.join`` takes them.
    """
    return '' if os.path.isabs(os.path.join(*parts)) else f' (working directory {os.getcwd()})'


def shorten(names: Iterable[object], count: int = 3) -> str:
    """Return the first ``count`` names, for an error that may concern hundreds."""
    names = [str(name) for name in names]
    return ', '.join(names[:count]) + (', ...' if len(names) > count else '')


def _similarity(name: str, text: str) -> float:
    return SequenceMatcher(None, name.lower(), text.lower()).ratio()
