"""Running one transform of a pipeline, whatever it asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from detkit.datasets.transforms.choice import RandomChoice
from detkit.datasets.transforms.loading import UnreadableImageError
from detkit.datasets.transforms.mixing import MixTransform
from detkit.registry import is_own, package_of
from detkit.structures.sample import Sample
from detkit.utils.errors import ComponentError, DetkitError, reason_of

__all__ = ['apply_transform']


def apply_transform(
    transform: Callable[[Sample], Any], sample: Sample, make_others: Callable[[int], list[Sample]]
) -> Any:
    """Run a transform on a sample.

    Args:
        transform: takes a sample and returns a changed copy; the last one of a pipeline returns what ``collate`` takes.
        sample: goes in.
        make_others: gives so many other samples, in the state that the pipeline's transforms before this one leave.

    Raises:
        ComponentError: a transform of a user's own fails.
    """
    if not is_own(type(transform)):
        return _apply(transform, sample, make_others)
    name = type(transform).__name__
    try:
        return _apply(transform, sample, make_others)
    except (DetkitError, MemoryError, UnreadableImageError):
        raise
    except Exception as error:
        reason = reason_of(error, {package_of(type(transform))})
        raise ComponentError(f'{name} fails on {sample.record.img_path}: {reason}', name) from error


def _apply(transform: Callable[[Sample], Any], sample: Sample, make_others: Callable[[int], list[Sample]]) -> Any:
    if isinstance(transform, RandomChoice):
        for step in transform.choose(sample):
            sample = apply_transform(step, sample, make_others)
        return sample
    if isinstance(transform, MixTransform):
        # Mosaic and mixup look themselves whether they are skipped, after a draw, on which later draws depend.
        drawn = transform.draw(sample)
        if drawn is None or sample.skips(transform):
            return transform.leave(sample)
        return transform.mix(sample, make_others(transform.num_mix_images), drawn)
    return sample if sample.skips(transform) else transform(sample)
