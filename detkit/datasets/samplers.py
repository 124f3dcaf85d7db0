"""The order in which a dataset is read."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
from mmengine.dist import get_dist_info

from detkit.datasets.sample_key import SampleKey
from detkit.registry import DATA_SAMPLERS
from detkit.utils.rng import keyed_rng


@DATA_SAMPLERS.register_module()
class EpochSampler:
    """A batch sampler whose batches depend on (seed, epoch, position) alone.

    The epoch's order is one permutation of the dataset, keyed by (seed, epoch); ``position`` counts along it. Blocks
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
        self._skipped_batches = 0
        if shuffle and getattr(dataset, 'order', None) is not None:
            raise ValueError('the dataset has an order of its own (rectangular batches): set shuffle=False')

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def skip(self, num_batches: int) -> None:
        """Make the next iteration, and only that, start behind this process's first ``num_batches`` batches."""
        self._skipped_batches = num_batches

    def epoch_order(self, epoch: int) -> np.ndarray:
        """Return ``(N,)`` int64: the indices of the dataset in the order of the positions."""
        if self.shuffle:
            return keyed_rng(self.seed, epoch).permutation(len(self.dataset))
        order = getattr(self.dataset, 'order', None)
        return np.arange(len(self.dataset)) if order is None else np.asarray(order)

    def __len__(self) -> int:
        """Return the number of this process's batches in a whole epoch."""
        size = len(self.dataset)
        num_blocks = size // self.batch_size if self.drop_last else -(-size // self.batch_size)
        if self.round_up:
            return -(-num_blocks // self.world_size)
        return max(0, -(-(num_blocks - self.rank) // self.world_size))

    def __iter__(self) -> Iterator[list[SampleKey]]:
        # Not a generator itself, so that epoch and start are taken now and not when a worker first asks.
        return self._batches(self.epoch, self._skipped_batches)

    def _batches(self, epoch: int, start: int) -> Iterator[list[SampleKey]]:
        # Only now, as a loader's first start with workers makes one iterator that it never advances.
        self._skipped_batches = 0
        order = self.epoch_order(epoch)
        wraps = self.round_up and self.world_size > 1
        for step in range(start, len(self)):
            first = (step * self.world_size + self.rank) * self.batch_size
            stop = first + self.batch_size if wraps else min(first + self.batch_size, len(order))
            yield [
                SampleKey(self.seed, epoch, position, int(order[position % len(order)]))
                for position in range(first, stop)
            ]
