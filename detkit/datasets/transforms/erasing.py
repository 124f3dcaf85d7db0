"""``RandomErasing``: hides a part of the rendered image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detkit.registry import TRANSFORMS
from detkit.structures.sample import Sample

__all__ = ['RandomErasing']

# The number of times that a rectangle that does not fit is drawn again before the image is left whole.
_ATTEMPTS = 10


@TRANSFORMS.register_module()
class RandomErasing:
    """Fill a random rectangle with one value (arXiv:1708.04896); for classification, as objects are left as they are.

    Args:
        prob: the probability of erasing.
        scale: the rectangle's area as a share of the image's is drawn from this range.
        ratio: its height / width likewise, evenly on a logarithmic scale.
        fill: grey value.
    """

    stage = 'pixels'

    def __init__(
        self,
        prob: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        fill: int = 0,
    ) -> None:
        if not 0 < scale[0] <= scale[1] < 1:
            raise ValueError(f'RandomErasing(scale={tuple(scale)}): expected 0 < lowest <= highest < 1')
        self.prob = prob
        self.scale = tuple(scale)
        self.ratio = tuple(ratio)
        self.fill = fill

    def __call__(self, sample: Sample) -> Sample:
        rng, img = sample.rng, sample.img
        if rng.random() >= self.prob:
            return sample
        height, width = img.shape[:2]
        for _ in range(_ATTEMPTS):
            area = height * width * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(*np.log(self.ratio)))
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < h < height and 0 < w < width:
                top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
                img = img.copy()  # it may be the decoded image itself, which is shared
                img[top : top + h, left : left + w] = self.fill
                return replace(sample, img=img)
        return sample
