"""``RandomChoice``: one of several ways to go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from detkit.registry import TRANSFORMS

__all__ = ['RandomChoice']


@TRANSFORMS.register_module()
class RandomChoice:
    """Runs one of several lists of transforms, drawn for each sample.

    Args:
        transforms: the lists, of config dicts or built objects; an empty one leaves the sample as it is.
        prob: how likely each is, summing up to 1; None: all the same. A transform that asks for partners (mosaic) gets
            them as they are before the choice.
    """

    def __init__(
        self,
        transforms: Sequence[Sequence[dict | Callable[[dict], dict]]],
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
        self._ends = np.cumsum(prob)[:-1]

    def __call__(self, results: dict) -> dict:
        number = int(np.searchsorted(self._ends, results['rng'].random(), side='right'))
        for transform in self.transforms[number]:
            results = transform(results)
        return results
