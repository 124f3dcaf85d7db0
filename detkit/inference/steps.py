"""The transforms from an image to a network's input, as a config's test data go through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from detkit.utils.errors import ConfigError

# Transforms whose size scales with the size of the input, and that size where a config leaves it out.
_SIZES = {'ResizeShortestEdge': 224, 'CenterCrop': 224, 'Stretch': 224, 'LetterBox': 640}
# Transforms that read what an image without annotations has not.
_OF_LABELS = ('LoadSegments',)


def steps_of(config: Config | dict) -> list[dict[str, Any]]:
    """The pipeline of the config's test or validation data; empty where it has neither.

    Raises:
        ConfigError: its transforms are no configs.
    """
    for loader in ('test_dataloader', 'val_dataloader'):
        dataset = (config.get(loader) or {}).get('dataset') or {}
        while 'dataset' in dataset:
            dataset = dataset['dataset']
        steps = list(dataset.get('pipeline') or ())
        if any(not isinstance(step, dict) for step in steps):
            raise ConfigError(f'{loader}.dataset.pipeline must hold configs, not built transforms')
        if steps:
            return steps
    return []


def resized(step: dict[str, Any], factor: float) -> dict[str, Any]:
    """A transform's config with its sizes multiplied, where the transform scales or cuts the image."""
    if step['type'] not in _SIZES:
        return dict(step)
    sizes = {'size': _SIZES[step['type']], **{key: step[key] for key in ('size', 'max_size') if step.get(key)}}
    return {**step, **{key: _scaled(size, factor) for key, size in sizes.items()}}


def _scaled(size: int | Sequence[int], factor: float) -> int | tuple[int, ...]:
    return round(size * factor) if isinstance(size, int) else tuple(round(side * factor) for side in size)


def detector_size(config: Config | dict) -> int:
    """What ``img_size`` is of a detector's test pipeline: the longer side of its letterbox or, where it resizes by the
    shorter side, that; 640 where it does neither."""
    for step in steps_of(config):
        if step['type'] in ('LetterBox', 'ResizeShortestEdge'):
            size = step.get('size', _SIZES[step['type']])
            return int(size if isinstance(size, int) else max(size))
    return _SIZES['LetterBox']


def detector_steps(config: Config | dict, img_size: int) -> list[dict[str, Any]]:
    """Transforms from an image to a detector's input, see ``detector_size``.

    A test pipeline that letterboxes gives way to one that pads no further than the network needs.
    """
    steps = steps_of(config)
    if any(step['type'] == 'ResizeShortestEdge' for step in steps):
        factor = img_size / detector_size(config)
        return [resized(step, factor) for step in steps if step['type'] not in _OF_LABELS]
    return [
        {'type': 'LoadImageFromFile'},
        {'type': 'LetterBox', 'size': img_size, 'rounding': 'nearest', 'pad_to': 'divisor'},
        {'type': 'Render'},
        {'type': 'PackInputs'},
    ]
