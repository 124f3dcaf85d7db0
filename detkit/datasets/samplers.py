"""The order in which a dataset is read."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info

from detkit.datasets.sample_key import SampleKey
from detkit.datasets.wrappers import image_classes_of, order_of, repeat_factors_of
from detkit.registry import DATA_SAMPLERS, is_own
from detkit.utils.errors import ComponentError, ConfigError
from detkit.utils.rng import keyed_rng


@DATA_SAMPLERS.register_module()
class EpochSampler:
    """A batch sampler whose batches depend on (seed, epoch, position) alone.

    The epoch's order is one permutation of the dataset, keyed by (seed, epoch); ``position`` counts along it. Where the
    dataset's samples have ``repeat_factors`` (see ``ConcatDataset``), a shuffled epoch has each of them as often as its
    factor says: the whole number in each epoch, and for the rest a new draw, keyed likewise, without replacement. The
    factors are scaled down by less than one sample in all, so that every epoch has the same length. Blocks
    of ``batch_size`` consecutive positions go to the processes in turn, so that a step of W processes reads W *
    ``batch_size`` consecutive positions, and no block is ever divided. Nothing is kept from epoch to epoch: an epoch
    can be entered at any batch, and no image of the skipped ones is read.

    Args:
        dataset: to be sampled; with an ``order`` (a permutation of its indices, see rectangular batches) it is read
            in that order.
        batch_size: images of one batch of one process.
        shuffle: draw a new order for each epoch, instead of the dataset's own.
        seed: the run's seed.
        drop_last: leave out a last batch that is smaller than the others.
        round_up: where there are several processes, go on from the order's start until each has the same number of
            full batches (training in step needs it); otherwise each image is read exactly once. Default: ``shuffle``.
        rank, world_size: the process and their number; default: those of the running process group.

    Attributes:
        epoch: the epoch whose order the next iteration gives.
        skipped_batches: the batches that the next iteration leaves out, see ``skip``.
        epoch_size: the number of positions.
    """

    def __init__(
        self,
        dataset: Sized,
        batch_size: int = 1,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        round_up: bool | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f'batch_size must be at least 1, not {batch_size}')
        own_rank, own_world_size = get_dist_info()
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.round_up = shuffle if round_up is None else round_up
        self.rank = own_rank if rank is None else rank
        self.world_size = own_world_size if world_size is None else world_size
        self.epoch = 0
        self.skipped_batches = 0
        if shuffle and order_of(dataset) is not None:
            raise ValueError('the dataset has an order of its own (rectangular batches): set shuffle=False')
        self._factors = self.repeat_factors() if shuffle else None
        if self._factors is not None and (self._factors == 1).all():
            self._factors = None
        self.epoch_size = len(dataset) if self._factors is None else _whole(self._factors.sum())
        if self._factors is not None and not self.epoch_size:
            raise ConfigError(f'weights this small leave no image in an epoch of {len(dataset)} images; raise them')

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def skip(self, num_batches: int) -> None:
        """Make the next iteration, and only that, start behind this process's first ``num_batches`` batches."""
        self.skipped_batches = num_batches

    def repeat_factors(self) -> np.ndarray | None:
        """Return ``(len(dataset),)`` how often each sample is drawn in a shuffled epoch, on average; None: once."""
        return repeat_factors_of(self.dataset)

    def epoch_order(self, epoch: int) -> np.ndarray:
        """Return ``(epoch_size,)`` int64: the indices of the dataset in the order of the positions."""
        if self._factors is not None:
            rng = keyed_rng(self.seed, epoch)
            return rng.permutation(np.repeat(np.arange(len(self._factors)), _draw_counts(self._factors, rng)))
        if self.shuffle:
            return keyed_rng(self.seed, epoch).permutation(len(self.dataset))
        order = order_of(self.dataset)
        return np.arange(len(self.dataset)) if order is None else np.asarray(order)

    def __len__(self) -> int:
        """Return the number of this process's batches in a whole epoch."""
        size = self.epoch_size
        num_blocks = size // self.batch_size if self.drop_last else -(-size // self.batch_size)
        if self.round_up:
            return -(-num_blocks // self.world_size)
        return max(0, -(-(num_blocks - self.rank) // self.world_size))

    def __iter__(self) -> Iterator[list[SampleKey]]:
        # Not a generator itself, so that epoch and start are taken now and not when a worker first asks.
        return self._batches(self.epoch, self.skipped_batches)

    def _batches(self, epoch: int, start: int) -> Iterator[list[SampleKey]]:
        # Only now, as a loader's first start with workers makes one iterator that it never advances.
        self.skipped_batches = 0
        order = checked_order(self, epoch)
        wraps = self.round_up and self.world_size > 1
        for step in range(start, len(self)):
            first = (step * self.world_size + self.rank) * self.batch_size
            stop = first + self.batch_size if wraps else min(first + self.batch_size, len(order))
            yield [
                SampleKey(self.seed, epoch, position, int(order[position % len(order)]))
                for position in range(first, stop)
            ]


def checked_order(sampler: EpochSampler, epoch: int) -> np.ndarray:
    """Return the order of an epoch.

    Raises:
        ComponentError: a sampler of a user's own returns none for this dataset, or one of another length.
    """
    order = sampler.epoch_order(epoch)
    if not is_own(type(sampler)):
        return order
    name, count = type(sampler).__name__, len(sampler.dataset)
    order = np.asarray(order)
    text = f'{name}.epoch_order({epoch}) returns'
    if order.ndim != 1 or order.dtype.kind not in 'iu':
        raise ComponentError(f'{text} {order.dtype} {order.shape}, but must return indices of the images (N,)', name)
    if len(order) != sampler.epoch_size:
        raise ComponentError(
            f'{text} {len(order)} indices, but every epoch has epoch_size={sampler.epoch_size}: repeat or leave out '
            'images there, or set self.epoch_size in __init__, after super().__init__()',
            name,
        )
    if len(order) and not 0 <= order.min() <= order.max() < count:
        raise ComponentError(f'{text} {order.min()} to {order.max()}, but the images are 0 to {count - 1}', name)
    return order


class _ByClassSampler(EpochSampler):
    """Base of samplers that draw an image as often as its classes ask for.

    The factors of the dataset's own weights (see ``ConcatDataset``) multiply those of the classes, which are counted in
    the images as they are drawn with these weights.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, **kwargs: Any) -> None:
        if not shuffle:
            raise ConfigError(f'{type(self).__name__} draws images anew for each epoch: set shuffle=True')
        super().__init__(dataset, shuffle=shuffle, **kwargs)

    def repeat_factors(self) -> np.ndarray | None:
        images, labels = image_classes_of(self.dataset)
        weights = super().repeat_factors()
        if weights is None:
            weights = np.ones(len(self.dataset))
        return weights * self.class_factors(images, labels, weights)

    def class_factors(self, images: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return ``(N,)`` factors.

        Args:
            images, labels: ``(P,)`` each, the classes that the images show, each once an image.
            weights: ``(N,)`` how often each image is drawn already.
        """
        raise NotImplementedError


@DATA_SAMPLERS.register_module()
class RepeatFactorSampler(_ByClassSampler):
    """An ``EpochSampler`` that repeats images of rare classes (Gupta et al., https://arxiv.org/abs/1908.03195).

    Of a class c in a share f(c) of the images the factor is r(c) = max(1, sqrt(threshold / f(c))); an image is drawn as
    often as the largest r of its classes says, and once where it shows none. An epoch gets longer by it. The fractional
    parts are drawn anew in each epoch, as in LVIS.

    Args:
        dataset: datasets of records, wrapped or not.
        threshold: the share of images below which a class counts as rare.
        **kwargs: see ``EpochSampler``.
    """

    def __init__(self, dataset: Sized, threshold: float = 0.001, **kwargs: Any) -> None:
        if not 0 < threshold <= 1:
            raise ConfigError(f'threshold={threshold} of RepeatFactorSampler must lie in (0, 1]')
        self.threshold = threshold
        super().__init__(dataset, **kwargs)

    def class_factors(self, images: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        shares = np.bincount(labels, weights[images]) / weights.sum()
        factors = np.ones(len(weights))
        np.maximum.at(factors, images, np.sqrt(self.threshold / shares[labels]))
        return factors


@DATA_SAMPLERS.register_module()
class ClassBalancedSampler(_ByClassSampler):
    """An ``EpochSampler`` that draws an image for each class equally often.

    Each class has the same number of draws, divided evenly among the images that show it, and an image has the draws of
    all its classes: where images show one class each, an epoch has as many of every class. Images without an object
    keep their share, and an epoch its length.

    Args:
        dataset: datasets of records, wrapped or not.
        **kwargs: see ``EpochSampler``.
    """

    def class_factors(self, images: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
        counts = np.bincount(labels, weights[images])
        factors = np.bincount(images, 1 / counts[labels], len(weights))
        shown = factors > 0
        draws = weights[shown].sum() / max((counts > 0).sum(), 1)  # of each class
        return np.where(shown, factors * draws, 1.0)


def _whole(total: float) -> int:
    """Return the whole number below; sums of fractions such as 0.1 are a little off."""
    return int(np.floor(total + 1e-6))


def _draw_counts(factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return ``(N,)`` int64: how often each sample is drawn, its factor rounded down or up, ``epoch_size`` in all.

    The fractional parts, laid end to end in random order, are hit by points one apart: a part is hit with a probability
    of its length, at most once, and the number of hits is always the same (systematic sampling).
    """
    counts = np.floor(factors).astype(np.int64)
    parts = factors - counts
    num_hits = _whole(factors.sum()) - counts.sum()
    if num_hits <= 0:
        return counts
    order = rng.permutation(len(parts))
    ends = np.cumsum(parts[order])
    ends *= num_hits / ends[-1]
    ends[-1] = num_hits
    hits = np.floor(ends + rng.random()).astype(np.int64)
    counts[order] += np.diff(hits, prepend=0)
    return counts
