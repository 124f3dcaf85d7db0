"""Running one transform of a pipeline, whatever it asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detkit.datasets.transforms.annotation_check import mistake_of_annotations, mistake_of_objects
from detkit.datasets.transforms.choice import RandomChoice
from detkit.datasets.transforms.loading import UnreadableImageError
from detkit.datasets.transforms.mixing import MixTransform
from detkit.registry import is_own, package_of
from detkit.structures.annotations import Annotations
from detkit.structures.sample import Sample
from detkit.utils.errors import ComponentError, DetkitError, reason_of

__all__ = ['apply_transform']


def apply_transform(
    transform: Callable[[Sample], Any],
    sample: Sample,
    make_others: Callable[[int], list[Sample]],
    num_classes: int | None = None,
) -> Any:
    """Run a transform on a sample.

    Args:
        transform: takes a sample and returns a changed copy; the last one of a pipeline returns what ``collate`` takes.
        sample: goes in.
        make_others: gives so many other samples, in the state that the pipeline's transforms before this one leave.
        num_classes: the number of classes, which the labels of a user's own transform must be below; None for any.

    Raises:
        ComponentError: a transform of a user's own fails, or what it returns, of any image, breaks its contract.
    """
    if not is_own(type(transform)):
        return _apply(transform, sample, make_others, num_classes)
    name = type(transform).__name__
    try:
        result = _apply(transform, sample, make_others, num_classes)
    except (DetkitError, MemoryError, UnreadableImageError):
        raise
    except Exception as error:
        reason = reason_of(error, {package_of(type(transform))})
        raise ComponentError(f'{name} fails on {sample.record.img_path}: {reason}', name) from error
    _check_result(name, getattr(transform, 'stage', None), sample, result, num_classes)
    return result


def _check_result(name: str, stage: str | None, before: Sample, result: Any, num_classes: int | None) -> None:
    """Raise ``ComponentError`` where a transform of a user's own returns what a pipeline cannot go on with."""
    path = before.record.img_path
    if stage == 'pack' or (stage is None and isinstance(result, dict) and 'inputs' in result):
        inputs = result.get('inputs') if isinstance(result, dict) else None
        if isinstance(inputs, Tensor) and inputs.dtype != torch.uint8:
            text = f'{name} returns inputs of {inputs.dtype} for {path}, but they must be torch.uint8'
            raise ComponentError(f'{text}: the data preprocessor of the model normalises them', name)
        annotations = result.get('annotations') if isinstance(result, dict) else None
        if isinstance(annotations, Annotations):
            size = tuple(inputs.shape[-2:]) if isinstance(inputs, Tensor) else None
            _raise_for(mistake_of_annotations(annotations, size, num_classes, path), name)
        return
    if not isinstance(result, Sample):
        text = f'{name} returns a {type(result).__name__} for {path}, but a transform returns the changed Sample'
        raise ComponentError(f'{text}: return dataclasses.replace(sample, img=img)', name)
    img = result.img
    is_image = isinstance(img, np.ndarray) and img.dtype == np.uint8 and img.ndim == 3
    if not is_image and not (img is None and before.img is None):
        found = f'{img.dtype} {img.shape}' if isinstance(img, np.ndarray) else type(img).__name__
        text = f'{name} returns an img of {found} for {path}, but it must be uint8 (H, W, 3), 0 to 255'
        raise ComponentError(f'{text}: round and clip it, and return img.astype(np.uint8)', name)
    if stage == 'pixels' and before.img is not None and img.shape != before.img.shape:
        text = f'{name} returns an img of the shape {img.shape} for one of {before.img.shape}, {path}, but the stage'
        raise ComponentError(f'{text} pixels keeps the size, as boxes stay where they are; resize before Render', name)
    _raise_for(mistake_of_objects(before, result, num_classes), name)


def _raise_for(mistake: str | None, name: str) -> None:
    if mistake:
        raise ComponentError(f'{name} returns {mistake}', name)


def _apply(
    transform: Callable[[Sample], Any],
    sample: Sample,
    make_others: Callable[[int], list[Sample]],
    num_classes: int | None,
) -> Any:
    if isinstance(transform, RandomChoice):
        for step in transform.choose(sample):
            sample = apply_transform(step, sample, make_others, num_classes)
        return sample
    if isinstance(transform, MixTransform):
        # Mosaic and mixup look themselves whether they are skipped, after a draw, on which later draws depend.
        drawn = transform.draw(sample)
        if drawn is None or sample.skips(transform):
            return transform.leave(sample)
        return transform.mix(sample, make_others(transform.num_mix_images), drawn)
    return sample if sample.skips(transform) else transform(sample)
