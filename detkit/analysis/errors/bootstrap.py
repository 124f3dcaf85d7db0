"""Paired bootstrap: confidence intervals of a metric, and of the difference of two models, over the choice of images.

The images are resampled with replacement many times, and the metric is computed each time (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993). Two models are compared on the *same* resamples, which cancels what makes an image
easy or hard for both; so a difference can be significant although the intervals of the two models overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detkit.analysis.errors.matching import Matches, average_precisions
from detkit.utils.errors import ConfigError
from detkit.utils.rng import keyed_rng


@dataclass(frozen=True)
class Interval:
    """A metric with its confidence interval.

    Attributes:
        value: on all images.
        low, high: ends of the interval; nan if no resample defines the metric.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference has a sign at this confidence."""
        return self.low > 0 or self.high < 0


def draw_counts(num_images: int, replicates: int, seed: int = 0) -> np.ndarray:
    """Count how often each image comes up in each of R resamples with replacement, ``(R, I)`` int32.

    Raises:
        ConfigError: fewer than 2 images, which cannot be resampled, or no replicate.
    """
    if num_images < 2:
        raise ConfigError(f'a bootstrap needs at least 2 images, found {num_images}')
    if replicates < 1:
        raise ConfigError(f'a bootstrap needs at least 1 replicate, found {replicates}')
    rng = keyed_rng(seed)
    return np.stack(
        [
            np.bincount(rng.integers(num_images, size=num_images), minlength=num_images).astype(np.int32)
            for _ in range(replicates)
        ]
    )


def interval(value: float, replicates: np.ndarray, confidence: float = 0.95) -> Interval:
    """Return the percentile interval of a metric.

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


def precision_summaries(matches: Matches, counts: np.ndarray | None = None) -> np.ndarray:
    """Return each class's average precision as the mean over all overlaps and at the first one, ``(R, C, A, 2)``.

    Args:
        matches: matches of the predictions of a model.
        counts: choices of images ``(R, I)``, see ``average_precisions``; all images once if left out.

    Returns:
        nan where a choice holds no object of a class and area.
    """
    found = []
    for one in matches.per_class:
        values = average_precisions(one, counts)  # (R, A, T); no overlap is defined unless all are
        found.append(np.where(values[..., :1] < 0, np.nan, np.stack([values.mean(-1), values[..., 0]], -1)))
    return np.stack(found, 1)


def mean_precision(values: np.ndarray, axis: int | tuple[int, ...] = -1) -> np.ndarray:
    """Return the mean of the defined values, such as mAP of those of the classes; nan if there are none."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0).sum(axis)
    number = defined.sum(axis)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
