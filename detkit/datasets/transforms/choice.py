"""``RandomChoice``: one of several ways to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from detkit.registry import TRANSFORMS
from detkit.structures.sample import Sample

__all__ = ['RandomChoice', 'mixing_names', 'nested_transforms']


@TRANSFORMS.register_module()
class RandomChoice:
    """Run one of several lists of transforms, drawn for each sample.

    A list whose first transform is turned off in the sample's epoch (``CloseTransformsHook``) is not drawn, and the
    others are in its place; where all are turned off, the sample stays as it is. Images that a mosaic in a list mixes
    in are as they are before the choice.

    Args:
        transforms: the lists, of config dicts or built objects; an empty one leaves the sample as it is.
        prob: the probability of each, summing up to 1; None: all the same.
    """

    def __init__(
        self,
        transforms: Sequence[Sequence[dict | Callable[[Sample], Sample]]],
        prob: Sequence[float] | None = None,
    ) -> None:
        if not transforms:
            raise ValueError('RandomChoice(transforms=[]): expected at least one list of transforms')
        self.transforms = [
            [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in branch] for branch in transforms
        ]
        if prob is None:
            prob = (1 / len(self.transforms),) * len(self.transforms)
        if len(prob) != len(self.transforms) or min(prob) < 0 or abs(sum(prob) - 1) > 1e-6:
            raise ValueError(
                f'RandomChoice(prob={tuple(prob)}): expected {len(self.transforms)} probabilities, one for each list '
                'of transforms, that sum up to 1'
            )
        self.prob = tuple(prob)
        self._ends = np.cumsum(prob)[:-1]

    def choose(self, sample: Sample) -> list[Callable[[Sample], Sample]]:
        """Draw the list of transforms that this sample goes through; whoever runs the pipeline applies them."""
        drawn, ends = sample.rng.random(), self._ends
        is_off = [bool(steps) and sample.skips(steps[0]) for steps in self.transforms]
        if any(is_off):
            left = np.where(is_off, 0.0, self.prob)
            if not left.any():
                return []
            ends = np.cumsum(left / left.sum())[:-1]
            drawn = min(drawn, np.nextafter(ends[-1], 0)) if is_off[-1] and len(ends) else drawn
        return self.transforms[int(np.searchsorted(ends, drawn, side='right'))]


def nested_transforms(transforms: Iterable[Any]) -> Iterator[Any]:
    """Yield the transforms of a pipeline, and those inside a ``RandomChoice``."""
    for transform in transforms:
        yield transform
        if isinstance(transform, RandomChoice):
            for branch in transform.transforms:
                yield from nested_transforms(branch)


def mixing_names(transforms: Iterable[Any]) -> tuple[str, ...]:
    """Return the names of those transforms that combine several images or objects (mosaic, mixup, copy-paste)."""
    steps = nested_transforms(transforms)
    return tuple(dict.fromkeys(type(step).__name__ for step in steps if getattr(step, 'mixes', False)))
