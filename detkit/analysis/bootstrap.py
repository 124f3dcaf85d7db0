"""Paired bootstrap: how far a figure, and the difference of two, may be chance of the images it was measured on.

The images are drawn anew with replacement many times, and the figure computed each time (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993). Two models are compared on the *same* draws, which takes out what makes an image
easy or hard for both; so a difference can be certain although the two figures' own intervals overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detkit.analysis.matching import Matches, average_precisions
from detkit.utils.errors import ConfigError
from detkit.utils.rng import keyed_rng

# Draws whose counts are held at once.
_CHUNK = 100


@dataclass(frozen=True)
class Interval:
    """A figure with the interval that holds it at the level asked for.

    Attributes:
        value: on all images.
        low, high: ends of the interval; nan where no draw defined the figure.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Of a difference: whether it has a sign at all."""
        return self.low > 0 or self.high < 0


def draw_counts(num_images: int, replicates: int, seed: int = 0) -> np.ndarray:
    """How often each image comes up in each of so many draws with replacement, ``(R, I)``; the same for a seed.

    Raises:
        ConfigError: fewer than 2 images, of which draws say nothing, or no replicate.
    """
    if num_images < 2:
        raise ConfigError(f'a bootstrap needs at least 2 images, found {num_images}')
    if replicates < 1:
        raise ConfigError(f'a bootstrap needs at least 1 replicate, found {replicates}')
    rng = keyed_rng(seed)
    return np.stack([np.bincount(rng.integers(num_images, size=num_images), minlength=num_images)
                     for _ in range(replicates)])


def replicate(statistic: Callable[[np.ndarray], np.ndarray], counts: np.ndarray) -> np.ndarray:
    """``statistic`` of all draws, ``(R, ...)``, some at a time.

    Args:
        statistic: from counts ``(r, I)`` to values ``(r, ...)``, nan where a draw leaves one undefined.
        counts: ``(R, I)``.
    """
    return np.concatenate([statistic(counts[start:start + _CHUNK]) for start in range(0, len(counts), _CHUNK)])


def interval(value: float, replicates: np.ndarray, confidence: float = 0.95) -> Interval:
    """The percentile interval of one figure.

    Args:
        value: on all images.
        replicates: ``(R,)`` of the draws; nan are left out.
        confidence: share of draws inside.
    """
    defined = replicates[~np.isnan(replicates)]
    if not len(defined) or np.isnan(value):
        return Interval(value, np.nan, np.nan)
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))


def class_precisions(matches: Matches, counts: np.ndarray | None = None) -> np.ndarray:
    """Average precisions ``(R, C, A, T)`` of choices of images ``(R, I)`` (all, once each, when left out).

    nan where a choice holds no object of a class and area.
    """
    values = np.stack([average_precisions(one, counts) for one in matches.per_class], 1)
    return np.where(values < 0, np.nan, values)


def mean_precision(values: np.ndarray, axis: int | tuple[int, ...] = -1) -> np.ndarray:
    """The mean of the defined values, nan where there are none; such as mAP of ``class_precisions``."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0).sum(axis)
    number = defined.sum(axis)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
