"""Errors on files that are given in the place of others, which name the order of a command's arguments."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence

from detkit.config.names import config_names
from detkit.utils.file_kinds import KINDS, kind_of

# Argument -> what it is, and the kinds of files that it cannot be.
_PICTURES = ('picture', 'video')
_EXPECTED = {
    'CONFIG': ('a config file or the name of one', (*_PICTURES, 'weights', 'data')),
    'CHECKPOINT': ("a checkpoint, a run's folder or an exported file", (*_PICTURES, 'config', 'data', 'folder')),
    'MODEL': ('a checkpoint, an exported file or the name of weights', (*_PICTURES, 'data')),
    'SOURCE': ('images, videos or a folder of them', ('weights', 'config', 'data')),
}
_ARGUMENTS = {
    **{name.lower(): (name,) for name in _EXPECTED},
    'configs': ('CONFIG',),
    'models': ('CONFIG', 'CHECKPOINT'),  # in turn
}
# How else the kinds of files are given that are no config, by command.
_REMEDIES = {
    ('detkit train', 'weights'): 'weights to start from are given by --cfg-options load_from={}',
    ('detkit predict', 'weights'): "'-' for CONFIG takes the config that a checkpoint holds",
    ('detkit train', 'data'): 'data are given by --cfg-options data_yaml={} of a config such as yolov8/det_custom',
}


def misplaced_file(prog: str, actions: Sequence[argparse.Action], args: argparse.Namespace) -> str | None:
    """Return a sentence on the first argument that is a file of another argument's kind; None where there is none.

    Args:
        prog: what is written to call the command.
        actions: the arguments of its parser.
        args: their values.
    """
    positional = [action for action in actions if not action.option_strings]
    if not {action.dest for action in positional} & {'config', 'configs', 'model', 'models'}:
        return None  # whose source is something else
    for name, value in _named_values(positional, args):
        what, refused = _EXPECTED[name]
        kind = _kind(value)
        if kind not in refused or (kind == 'folder' and _holds_checkpoint(value)):
            continue
        usual = [word for action in positional for word in _ARGUMENTS.get(action.dest, ())]
        remedy = _REMEDIES.get((prog, kind), '').format(value) if name == 'CONFIG' else ''
        order = f'. The order of the arguments is {prog} {" ".join(usual)}' if len(usual) > 1 else ''
        return f'{value} is {KINDS[kind]}, where {name} is expected, {what}{remedy and f"; {remedy}"}{order}'
    return None


def _named_values(positional: Sequence[argparse.Action], args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield the values of the arguments that are known here, each with the name of what is expected."""
    for action in positional:
        names, values = _ARGUMENTS.get(action.dest), getattr(args, action.dest, None)
        if names is None or values is None:
            continue
        for i, value in enumerate([values] if isinstance(values, str) else values):
            if isinstance(value, str):
                yield names[i % len(names)], value


def _kind(value: str) -> str | None:
    return kind_of(value) or ('config' if not os.path.exists(value) and value in config_names() else None)


def _holds_checkpoint(folder: str) -> bool:
    return any(name.endswith('.pth') for name in os.listdir(folder))
