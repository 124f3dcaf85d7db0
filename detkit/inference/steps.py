"""The transforms from an image to a network's input, as a config's test data go through them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine.config import Config

from detkit.datasets.transforms.cropping import ResizeShortestEdge
from detkit.datasets.transforms.geometry import LetterBox
from detkit.registry import TRANSFORMS
from detkit.utils.errors import ConfigError, nearest
from detkit.utils.limits import MAX_PIXELS, PIXELS_VARIABLE


def steps_of(config: Config | dict) -> list[dict[str, Any]]:
    """Return the pipeline of the config's test or validation data; empty where it has neither.

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


def collate_arguments(config: Config | dict) -> dict[str, Any]:
    """Return the arguments ``pad_value`` and ``size_divisor`` that the loader of ``steps_of`` gives to ``collate``."""
    for loader in ('test_dataloader', 'val_dataloader'):
        cfg = config.get(loader) or {}
        if cfg.get('dataset'):
            collate_fn = cfg.get('collate_fn')
            given = collate_fn if isinstance(collate_fn, Mapping) else {}
            return {name: given[name] for name in ('pad_value', 'size_divisor') if name in given}
    return {}


def sizes_of(step: dict[str, Any]) -> dict[str, int | Sequence[int]]:
    """Return the arguments of a transform that are sizes of the input, which it declares in ``size_arguments``."""
    factory = factory_of(step)
    names = getattr(factory, 'size_arguments', ())
    parameters = inspect.signature(factory).parameters if names else {}
    sizes = {name: step.get(name, parameters[name].default) for name in names}
    return {name: size for name, size in sizes.items() if size is not None}


def factory_of(step: dict[str, Any]) -> Callable:
    """Return the class of a transform's config.

    Raises:
        ConfigError: there is no such transform.
    """
    factory = TRANSFORMS.get(step['type']) if isinstance(step['type'], str) else step['type']
    if factory is None:
        raise ConfigError(f'there is no transform {step["type"]!r}.{nearest(step["type"], TRANSFORMS.names())}')
    return factory


def _scaled(size: int | Sequence[int], factor: float) -> int | tuple[int, ...]:
    return round(size * factor) if isinstance(size, int) else tuple(round(side * factor) for side in size)


def input_size(config: Config | dict, classifies: bool) -> int:
    """Return what ``img_size`` means for the config's test pipeline: the size of its last step that scales or cuts.

    That is the longer side of a letterbox, the shorter side of ``ResizeShortestEdge``, the side of a classifier's crop;
    640, or 224 for a classifier, where no step does.
    """
    for step in reversed(steps_of(config)):
        size = sizes_of(step).get('size')
        if size is not None:
            return int(size if isinstance(size, int) else max(size))
    return 224 if classifies else 640


def check_input_size(size: int | Sequence[int], name: str) -> None:
    """Refuse a size of the input of which a square image has more pixels than any image may have.

    Args:
        size: a side, or several.
        name: what it is, for the error.

    Raises:
        ConfigError: it is larger.
    """
    side = size if isinstance(size, int) else max(size)
    if side * side > MAX_PIXELS:
        raise ConfigError(
            f'{name} is {size}, but {side} x {side} are more than {MAX_PIXELS:,} pixels: give a smaller one, or raise '
            f'the limit by {PIXELS_VARIABLE}'
        )


def prediction_steps(
    config: Config | dict, img_size: int, classifies: bool, fixed_size: tuple[int, int] | None = None
) -> list[dict[str, Any]]:
    """Return the transforms from an image to the network's input: the config's own test pipeline.

    The sizes of its transforms (``size_arguments``) change by the factor that makes the input ``img_size``. A letterbox
    rounds and pads no further than the network needs, where the config does not say otherwise; transforms that read
    annotations are left out.

    Args:
        config: where it has no test pipeline, a classifier crops and a detector letterboxes.
        img_size: see ``input_size``.
        classifies: whether the model classifies whole images.
        fixed_size: (h, w) of every input, where the network takes no other: a letterbox fills it, and an image that
            would be resized by its shorter side is scaled to fit inside.
    """
    steps = [step for step in steps_of(config) if not getattr(factory_of(step), 'needs_annotations', False)]
    factor = img_size / input_size(config, classifies)
    if not steps:
        middle = [{'type': 'ResizeShortestEdge'}, {'type': 'CenterCrop'}] if classifies else [{'type': 'LetterBox'}]
        render = {'type': 'Render', 'antialias': True} if classifies else {'type': 'Render'}
        steps = [{'type': 'LoadImageFromFile'}, *middle, render, {'type': 'PackInputs'}]
    if fixed_size is not None and not classifies:
        return [_fitted(step, fixed_size) for step in steps]
    tight = {'rounding': 'nearest', 'pad_to': 'divisor'}
    return [
        {
            **(tight if factory_of(step) is LetterBox else {}),
            **step,
            **{name: _scaled(size, factor) for name, size in sizes_of(step).items()},
        }
        for step in steps
    ]


def _fitted(step: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return a transform for inputs of one size (h, w); see ``prediction_steps``."""
    factory = factory_of(step)
    if factory is LetterBox:
        return {'rounding': 'nearest', **step, 'size': size}
    if factory is ResizeShortestEdge:
        return {'type': 'LetterBox', 'size': size, 'rounding': 'nearest', 'pad_to': 'divisor', 'size_divisor': 1}
    return {**step, 'size': size} if 'size' in sizes_of(step) else step
