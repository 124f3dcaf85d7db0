"""Comparison of a config's values with the annotations and ranges of the arguments that they are given to."""

import ast
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detkit.config.origins import KeyPath, Origins, dotted
from detkit.utils.errors import ConfigError

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

_ANY = math.inf
# The least and the largest value of an argument of this name, in all of detkit and in torch's optimisers.
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        ('prob', 'fraction', 'score_thr', 'iou_thr', 'momentum', 'max_skipped', 'dropout', 'decay'), (0, 1)
    ),
    **dict.fromkeys(('deepen_factor', 'widen_factor'), (0.01, _ANY)),
    **dict.fromkeys(
        (
            *('batch_size', 'nominal_batch_size', 'accumulate', 'prefetch_factor', 'times'),
            *('max_epochs', 'val_interval', 'log_interval', 'interval', 'interval_iters', 'save_period', 'patience'),
            *('size', 'img_size', 'depth', 'out_channels', 'reg_max', 'num_classes', 'num_queries'),
            *('num_groups', 'topk', 'nms_pre', 'max_per_img', 'num_trials', 'multi_scale_interval'),
            *('in_channels', 'embed_dims', 'feedforward_dims', 'num_heads', 'cross_heads'),
            *('num_layers', 'num_decoder_layers', 'eval_layers', 'num_bbox_layers', 'num_position_layers'),
            *('num_points', 'num_windows', 'table_size', 'patch_size'),
        ),
        (1, _ANY),
    ),
    **dict.fromkeys(
        (
            *('lr', 'weight_decay', 'loss_weight', 'num_workers', 'timeout', 'freeze', 'num_epochs', 'warmup_epochs'),
            *('final_factor', 'hours', 'clip_grad_norm', 'num_startup_trials', 'num_startup_epochs'),
            *(
                'num_denoising',
                'num_blocks',
                'num_encoder_layers',
                'label_noise',
                'box_noise',
                'gamma',
                'mask_cost_weights',
                'start_epoch',
                'warmup_min_iters',
                'warmup_max_iters',
                'epochs_after_warmup',
                'flat_epochs',
                'tail_epochs',
                'tau',
            ),
        ),
        (0, _ANY),
    ),
    **dict.fromkeys(('expansion', 'mlp_ratio', 'temperature', 'up', 'reg_scale'), (0, _ANY)),
    'label_noise': (0, 2),
    'mask_stride': (1, 64),
    **dict.fromkeys(('pad_value', 'fill'), (0, 255)),
    'size_divisor': (1, 4096),
    'seed': (0, 2**32 - 1),
}
# Arguments whose least value of 0 is itself excluded.
_ABOVE_ZERO = {
    *('hours', 'clip_grad_norm', 'fraction', 'expansion', 'mlp_ratio', 'temperature', 'up', 'reg_scale', 'tau'),
}


def range_mistake(value: Any, name: str) -> str:
    """Return what an argument ``name`` may be, and the number that is outside of that; empty where none is."""
    if name not in RANGES:
        return ''
    low, high = RANGES[name]
    for number in value if isinstance(value, list | tuple) else (value,):
        if not isinstance(number, int | float):
            continue
        if number <= 0 and name in _ABOVE_ZERO:
            return f'{name} above 0; found {value!r}'
        if not low <= number <= high or number == _ANY:
            bounds = f'from {low} to {high}' if high < _ANY else f'at least {low}'
            return f'{name} {"as a finite number" if abs(number) == _ANY else bounds}; found {value!r}'
    return ''


def check_value(value: Any, kind: Any, path: KeyPath, origins: Origins) -> None:
    """Refuse a value of a plain key that is of another kind, or out of the range of the key's name.

    Raises:
        ConfigError: names the key, what was found and what to write.
    """
    if not fits(value, kind):
        raise ConfigError(
            f'{origins.blame(path)}: {dotted(path)} is {value!r}, but must be {spelled(kind)}{remedy_for(value, kind)}'
        )
    mistake = range_mistake(value, str(path[-1]))
    if mistake:
        raise ConfigError(f'{origins.blame(path)}: {dotted(path)}: {path[0]} takes {mistake}')


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
