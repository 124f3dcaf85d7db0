"""The Hugging Face Hub's ``config.json``, which lies beside a file of weights and describes its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detkit.utils.errors import CheckpointError, DataError
from detkit.utils.json_files import read_json


def what_lies_beside(path: Path) -> dict[str, Any]:
    """Return what the Hub's ``config.json`` beside the weights says, as arguments of ``DETRFile``."""
    values = hub_config(path)
    return dict(
        dilated=bool_or_none(values.get('dilation')),
        num_heads=positive_or_none(values.get('encoder_attention_heads')),
        classes=hub_classes(values, path),
        said_by='config.json' if values else None,
    )


def hub_config(path: Path) -> dict[str, Any]:
    """Return the Hub's ``config.json`` beside the weights; an empty dict where there is none.

    Raises:
        CheckpointError: it is damaged.
    """
    return read_beside(path, 'config.json')


def read_beside(path: Path, name: str, check: Callable[[dict[str, Any]], None] = lambda values: None) -> dict[str, Any]:
    """Return what a JSON file beside the weights says; an empty dict where there is none.

    Args:
        path: the weights.
        name: of the file.
        check: raises ``TypeError`` or ``ValueError`` where a value is of another kind than expected.

    Raises:
        CheckpointError: it is damaged.
    """
    file = path.with_name(name)
    if not file.is_file():
        return {}
    try:
        values = read_json(file, 'file')
        if not isinstance(values, dict):
            raise TypeError('it holds no keys')
        check(values)
    except (DataError, TypeError, ValueError) as error:
        raise _damaged(file, error) from error
    return values


def hub_classes(values: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    """Return the class names by label that a ``config.json`` states; None for none, or placeholders.

    Raises:
        CheckpointError: they are no names of labels from 0 on.
    """
    names = values.get('id2label') or {}
    try:
        classes = tuple(names[str(label)] for label in range(len(names))) or None
        if classes is not None and not all(isinstance(name, str) for name in classes):
            raise TypeError('id2label holds a name that is no text')
    except (KeyError, TypeError) as error:
        raise _damaged(path.with_name('config.json'), error) from error
    if classes is not None and all(name == f'LABEL_{label}' for label, name in enumerate(classes)):
        return None  # the classes were never named
    return classes


def check_unseen(values: Mapping[str, Any], model: Mapping[str, Any], path: Path) -> None:
    """Compare what a ``config.json`` says of the model, and weights do not show, with the model that they become.

    Args:
        values: of ``config.json``; what it leaves out is not compared, save an activation, whose default counts.
        model: the config of an RT-DETR, D-FINE, DEIM, DEIMv2 or RF-DETR.
        path: the weights.

    Raises:
        CheckpointError: a value is another one.
    """
    for key, expected in _unseen(model).items():
        found: Any = values
        for part in key.split('.'):
            found = found.get(part) if isinstance(found, Mapping) else None
        if found is None and values.get('model_type') is not None:
            found = _DEFAULTS.get(key)
        if found is not None and _SAME.get(str(found), found) != expected:
            raise refuse_other(path.with_name('config.json'), key, found, expected, path)


def refuse_other(said_by: Path | str, key: str, found: Any, expected: Any, path: Path) -> CheckpointError:
    """Return the error for a value that weights do not show, and that the model that they become does not have."""
    return CheckpointError(
        f'{said_by} says that {key} is {str(found)[:60]!r}, but the model that {path} would become has {expected!r}; '
        'give the config of its model with --config, or convert it as the family that it is of.'
    )


def _unseen(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by the keys of ``config.json``."""
    backbone, neck, head = model['backbone'], model['neck'], model['head']
    decoder, act = head['decoder'], head['decoder'].get('act', 'ReLU')
    if head['type'].startswith('RFDETR'):
        return {
            'decoder_self_attention_heads': decoder['num_heads'],
            'decoder_cross_attention_heads': decoder['cross_heads'],
            'decoder_activation_function': 'relu',
            'backbone_config.num_attention_heads': backbone['num_heads'],
            'backbone_config.num_windows': backbone['num_windows'],
            'backbone_config.hidden_act': 'gelu',
        }
    heads = {
        'encoder_attention_heads': neck.get('num_heads', 8),
        'decoder_attention_heads': decoder['num_heads'],
        'normalize_before': False,
        'positional_encoding_temperature': 10000,
    }
    if decoder.get('feedforward_act') == 'SwiGLU':  # DEIMv2's, whose activations have a rule of their own
        return heads
    acts = {
        'encoder_activation_function': neck.get('encoder_act', 'GELU').lower(),
        'activation_function': neck.get('act', 'SiLU').lower(),
        'decoder_activation_function': act.lower(),
    }
    return {**heads, **acts, 'learn_initial_query': False}


# The activation of a ``config.json`` that states none, and other names of one.
_DEFAULTS = {'decoder_activation_function': 'relu'}
_SAME = {'swish': 'silu'}


def _damaged(file: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f'{file} is damaged ({type(error).__name__}: {error}); copy it again, or remove it to have the weights '
        'converted without what it says.'
    )


def bool_or_none(value: Any) -> bool | None:
    """Return a truth value, None for anything else."""
    return value if isinstance(value, bool) else None


def positive_or_none(value: Any) -> int | None:
    """Return a whole number above 0, None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
