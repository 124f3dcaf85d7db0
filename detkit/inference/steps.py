"""The transforms from an image to a network's input, as a config's test data go through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from detkit.utils.errors import ConfigError

# Transforms whose size scales with the size of the input, and that size where a config leaves it out.
_SIZES = {'ResizeShortestEdge': 224, 'CenterCrop': 224, 'Resize': 224, 'LetterBox': 640}
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


def input_size(config: Config | dict, classifies: bool) -> int:
    """Return what ``img_size`` means for the config's test pipeline: the size of its last step that scales or cuts.

    That is the longer side of a letterbox, the shorter side of ``ResizeShortestEdge``, the side of a classifier's crop;
    640, or 224 for a classifier, where no step does.
    """
    for step in reversed(steps_of(config)):
        if step['type'] in _SIZES:
            size = step.get('size', _SIZES[step['type']])
            return int(size if isinstance(size, int) else max(size))
    return 224 if classifies else 640


def prediction_steps(config: Config | dict, img_size: int, classifies: bool) -> list[dict[str, Any]]:
    """Return the transforms from an image to the network's input: the config's own test pipeline.

    Its sizes change by the factor that makes the input ``img_size``. A letterbox rounds and pads no further than the
    network needs, where the config does not say otherwise; transforms that read annotations are left out.

    Args:
        config: where it has no test pipeline, a classifier crops and a detector letterboxes.
        img_size: see ``input_size``.
        classifies: whether the model classifies whole images.
    """
    steps = [step for step in steps_of(config) if step['type'] not in _OF_LABELS]
    factor = img_size / input_size(config, classifies)
    if not steps:
        middle = [{'type': 'ResizeShortestEdge'}, {'type': 'CenterCrop'}] if classifies else [{'type': 'LetterBox'}]
        render = {'type': 'Render', 'antialias': True} if classifies else {'type': 'Render'}
        steps = [{'type': 'LoadImageFromFile'}, *middle, render, {'type': 'PackInputs'}]
    tight = {'rounding': 'nearest', 'pad_to': 'divisor'}
    return [{**(tight if step['type'] == 'LetterBox' else {}), **resized(step, factor)} for step in steps]
