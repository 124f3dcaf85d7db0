"""Options of a call as fields of a dataclass, each with its check and its argument at the command line."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral
from typing import Any, TypeVar

from detkit.utils.errors import ConfigError

_Function = TypeVar('_Function', bound=Callable[..., Any])
Check = Callable[[str, Any], None]


def option(default: Any, help: str, check: Check | None = None, aliases: Sequence[str] = (), **argument: Any) -> Any:
    """Return the field of an option.

    Args:
        default: its value where a call does not give it; None stands for "as the config says".
        help: its meaning at the command line.
        check: raises ``ConfigError`` for a wrong value; called with the option's name and a value other than None.
        aliases: further names of the argument at the command line, such as ``'--max-det'``.
        argument: what ``argparse`` needs to know besides, such as ``type=int``; a switch needs nothing.
    """
    return field(default=default, metadata={'check': check, 'aliases': aliases, 'argument': {'help': help, **argument}})


def number(kind: type, low: float, high: float = math.inf) -> Check:
    """Return the check of a number (``numbers.Real``) or a whole number (``numbers.Integral``) in a range."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
            noun = 'a whole number' if kind is Integral else 'a number'
            limits = f'of at least {low}' if high == math.inf else f'from {low} to {high}'
            raise ConfigError(f'{name} is {value!r}, but must be {noun} {limits}')

    return check


def check_flag(name: str, value: Any) -> None:
    """Raise ``ConfigError`` for a value that is neither true nor false; 0, 1 and NumPy's booleans are."""
    if not (isinstance(value, Integral) and value in (0, 1)) and type(value).__name__ not in ('bool', 'bool_'):
        raise ConfigError(f'{name} is {value!r}, but must be True or False')


@dataclass(frozen=True)
class CallOptions:
    """Options that a call takes by name, all of which are checked when the object is made."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value, check = getattr(self, each.name), each.metadata['check']
            if check is not None and not (value is None and each.default is None):
                check(each.name, value)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options."""
        return tuple(each.name for each in fields(cls))


def takes(options: type[CallOptions]) -> Callable[[_Function], _Function]:
    """Decorate a function whose ``**options`` are some of a class, so that ``help`` and notebooks show their names."""

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        named = [
            inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type)
            for each in fields(options)
            if each.name not in signature.parameters
        ]
        function.__signature__ = signature.replace(parameters=[*own, *named])
        return function

    return decorate
