"""``SampleKey``: yielded by a sampler; the randomness of a sample depends on nothing else."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ['SampleKey', 'as_sample_key']


class SampleKey(NamedTuple):
    """The key of one sample of one epoch.

    Attributes:
        seed: the run's seed.
        epoch: counted from 0; transforms that stop at some epoch read it.
        position: the index into the epoch's order over all ranks. With seed and epoch it keys the random draws, so an
            image that occurs twice in an epoch is augmented differently each time.
        index: which record of the dataset.
    """

    seed: int
    epoch: int
    position: int
    index: int


def as_sample_key(key: SampleKey | int) -> SampleKey:
    """Return the key; a plain index means seed 0, epoch 0 and the position of the same number."""
    return key if isinstance(key, SampleKey) else SampleKey(0, 0, int(key), int(key))
