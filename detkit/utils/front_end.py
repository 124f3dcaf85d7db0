"""How a message names an argument: as the command line writes it, or as Python does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

_in_command = False


@contextmanager
def at_the_command_line() -> Iterator[None]:
    """Let messages that are made in the block name arguments of the command line."""
    global _in_command
    before, _in_command = _in_command, True
    try:
        yield
    finally:
        _in_command = before


def argument(name: str, value: str = '…', option: str = '') -> str:
    """Return an argument as the user gives it: ``--work-dir`` at the command line, ``work_dir=…`` in Python.

    Args:
        name: its name in Python.
        value: what Python's form shows as its value.
        option: the command line's form, where it is not the name with dashes.
    """
    return (option or f'--{name.replace("_", "-")}') if _in_command else f'{name}={value}'


def resuming() -> str:
    """Return how a run is resumed: ``--resume``, or ``resume=True`` in Python."""
    return argument('resume', 'True')


def importing(modules: Sequence[str]) -> str:
    """Return how modules of the user's own are imported: ``--custom-imports``, or a statement of Python."""
    return f'--custom-imports {" ".join(modules)}' if _in_command else f'import {", ".join(modules)}'


def data_argument(key: Literal['data_yaml']) -> str:
    """Return how the user names the data: the config's key at the command line, ``data=`` in Python."""
    return key if _in_command else f"data='data.yaml' of a call, or {key} of a config"


def options_source() -> str:
    """Return what the options that change a config are from: the command line, or Python's ``options``."""
    return 'command line' if _in_command else 'options'


def changing(key: str = '', value: object = '') -> str:
    """Return how a value of a config is changed, for an error that names the change or a remedy.

    ``--cfg-options key=value`` at the command line, ``options={'key': value}`` in Python; without a key the argument
    alone.
    """
    if not key:
        return '--cfg-options' if _in_command else 'options'
    if _in_command:
        shown = value if isinstance(value, str | int | float) else f'"{value}"'
        return f'--cfg-options {key}={shown}'
    return f'options={{{key!r}: {value!r}}}'
