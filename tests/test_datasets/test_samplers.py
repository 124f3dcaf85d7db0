"""The order of samples: keyed, the same for any number of processes, entered anywhere."""

import numpy as np
import pytest

from detkit.datasets import EpochSampler


class Numbers:
    def __init__(self, size, order=None):
        self.size, self.order = size, order

    def __len__(self):
        return self.size


def batches(size, epoch=0, **options):
    sampler = EpochSampler(Numbers(size), **options)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_an_epoch_is_a_permutation():
    found = batches(10, batch_size=4, seed=3, epoch=2)
    assert [len(batch) for batch in found] == [4, 4, 2]
    keys = [key for batch in found for key in batch]
    assert sorted(key.index for key in keys) == list(range(10))
    assert [key.position for key in keys] == list(range(10))
    assert {(key.seed, key.epoch) for key in keys} == {(3, 2)}


def test_the_order_is_keyed_by_seed_and_epoch():
    assert batches(50, batch_size=50, seed=1, epoch=1) == batches(50, batch_size=50, seed=1, epoch=1)
    orders = {
        tuple(key.index for key in batches(50, batch_size=50, seed=seed, epoch=epoch)[0])
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4
    # Iterating does not change it, and needs no set_epoch in between.
    sampler = EpochSampler(Numbers(50), 50)
    assert list(sampler) == list(sampler)


def test_the_order_does_not_depend_on_batch_size_or_process():
    order = [key.index for batch in batches(24, batch_size=1) for key in batch]
    for world_size, batch_size in ((1, 4), (2, 4), (3, 4), (4, 3)):
        parts = [batches(24, batch_size=batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
        seen = {key.position: key.index for part in parts for batch in part for key in batch}
        assert [seen[position] for position in range(24)] == order
        # One step of all processes reads consecutive positions, each process a whole block.
        for step, together in enumerate(zip(*parts, strict=True)):
            positions = [key.position for batch in together for key in batch]
            first = step * world_size * batch_size
            assert positions == list(range(first, first + world_size * batch_size))


def test_without_shuffling():
    assert [key.index for batch in batches(5, batch_size=2, shuffle=False) for key in batch] == [0, 1, 2, 3, 4]
    sampler = EpochSampler(Numbers(3, np.array([2, 0, 1])), 2, shuffle=False)
    assert [[key.index for key in batch] for batch in sampler] == [[2, 0], [1]]
    with pytest.raises(ValueError, match='shuffle=False'):
        EpochSampler(Numbers(3, np.array([2, 0, 1])), 2)


@pytest.mark.parametrize('size', [1, 7, 8, 9, 15])
@pytest.mark.parametrize('world_size', [1, 2, 3])
@pytest.mark.parametrize('drop_last', [False, True])
@pytest.mark.parametrize('round_up', [False, True])
def test_lengths_and_coverage(size, world_size, drop_last, round_up):
    options = {'batch_size': 3, 'drop_last': drop_last, 'round_up': round_up, 'world_size': world_size}
    samplers = [EpochSampler(Numbers(size), rank=rank, **options) for rank in range(world_size)]
    parts = [list(sampler) for sampler in samplers]
    assert [len(sampler) for sampler in samplers] == [len(part) for part in parts]
    sizes = [len(batch) for part in parts for batch in part]
    positions = [key.position for part in parts for batch in part for key in batch]
    assert len(set(positions)) == len(positions)
    whole = size // 3 * 3 if drop_last else size
    assert set(range(whole)) <= set(positions)
    if round_up:
        assert len({len(part) for part in parts}) == 1
    if round_up and world_size > 1:
        assert set(sizes) <= {3}
        indices = {key.position: key.index for part in parts for batch in part for key in batch}
        assert all(index == indices[position % size] for position, index in indices.items() if position >= size)
    else:
        assert sorted(positions) == list(range(whole))


def test_skip_starts_midway_once():
    sampler = EpochSampler(Numbers(20), 3, rank=1, world_size=2)
    sampler.set_epoch(4)
    whole = list(sampler)
    sampler.skip(2)
    assert len(sampler) == len(whole)
    assert list(sampler) == whole[2:]
    assert list(sampler) == whole
    sampler.skip(len(whole))
    assert list(sampler) == []


def test_epoch_is_taken_when_the_iteration_begins():
    sampler = EpochSampler(Numbers(6), 3)
    sampler.set_epoch(1)
    iterator = iter(sampler)
    sampler.set_epoch(2)
    assert {key.epoch for batch in iterator for key in batch} == {1}


def test_batch_size_must_be_positive():
    with pytest.raises(ValueError, match='batch_size'):
        EpochSampler(Numbers(3), 0)
