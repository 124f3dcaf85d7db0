"""Comparison of a config's values with the annotations and ranges of the arguments that they are given to."""

import ast
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PLAIN = {
    int: int,
    str: str,
    bool: bool,
    float: int | float,
    Path: str | Path,
    dict: Mapping,
    list: list | tuple,
    tuple: list | tuple,
}

# What an argument of this name may be, wherever detkit has one: the least and the largest value.
RANGES = {
    'prob': (0, 1),
    'fraction': (0, 1),
    'score_thr': (0, 1),
    'iou_thr': (0, 1),
    'batch_size': (1, math.inf),
    'deepen_factor': (0.01, math.inf),
    'loss_weight': (0, math.inf),
    'out_channels': (1, math.inf),
    'widen_factor': (0.01, math.inf),
    'num_workers': (0, math.inf),
    'prefetch_factor': (1, math.inf),
    'timeout': (0, math.inf),
    'max_epochs': (1, math.inf),
    'val_interval': (1, math.inf),
    'log_interval': (1, math.inf),
    'times': (1, math.inf),
    'topk': (1, math.inf),
    'size': (1, math.inf),
    'img_size': (1, math.inf),
    'reg_max': (1, math.inf),
    'depth': (1, math.inf),
    'num_classes': (1, math.inf),
    'num_queries': (1, math.inf),
    'num_epochs': (0, math.inf),
    'warmup_epochs': (0, math.inf),
    'accumulate': (1, math.inf),
}


def fits(value: Any, annotation: Any) -> bool:
    """Return whether ``value`` fits ``annotation``, as far as a config can express it.

    An int is a float, a list a tuple and a str a ``Path``; True is no number. An annotation with a
    class, a callable or anything else that a config can only describe accepts every value.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if annotation in (None, type(None)):
        return value is None
    if origin is typing.Literal:
        return value in arguments
    if origin is None and annotation in (int, float):
        return isinstance(value, _PLAIN[annotation]) and not isinstance(value, bool)
    if origin is None and annotation in _PLAIN:
        return isinstance(value, _PLAIN[annotation])
    if origin in (list, tuple, Sequence):
        return isinstance(value, list | tuple) and _items_fit(value, origin, arguments)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping)
    return True


def _items_fit(value: Sequence, origin: Any, arguments: tuple) -> bool:
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    return not arguments or all(fits(item, arguments[0]) for item in value)


def spelled(annotation: Any) -> str:
    """Return an annotation as a person writes it."""
    if annotation is type(None):
        return 'None'
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return ' | '.join(spelled(argument) for argument in typing.get_args(annotation))
    if typing.get_origin(annotation) is typing.Literal:
        return f'one of {", ".join(map(repr, typing.get_args(annotation)))}'
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation).replace('typing.', '').replace('collections.abc.Sequence', 'list')


def remedy_for(value: Any, annotation: Any) -> str:
    """Return what to write in place of a value that does not fit, with "; write " in front; empty where unknown."""
    if not isinstance(value, str):
        items = (value,) if isinstance(value, int | float | dict) else None
        return f'; write {items!r}' if items is not None and fits(items, annotation) else ''
    try:
        meant = ast.literal_eval(value.strip().capitalize() if value.lower() in ('true', 'false', 'none') else value)
    except (ValueError, SyntaxError):
        meant = value
    for candidate in (meant, (meant,), [meant], (value,)):
        if not isinstance(candidate, str) and fits(candidate, annotation):
            return f'; write {candidate!r}'
    return ''
