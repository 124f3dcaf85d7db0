import gc
from collections import Counter

import numpy as np
import pytest

from detkit.analysis.speed.paired_timing import mean_interval, ratio_interval, time_paired
from detkit.utils.errors import ConfigError


def recorder(log: list, name: str):
    """A maker of steps that note who ran in which copy and round, and give two phases."""

    def make():
        log.append((name, 'new'))
        return lambda turn: (log.append((name, turn)), (1.0, 2.0))[1]

    return make


def test_everything_runs_once_a_round_and_is_copied_for_each_block():
    log: list = []
    seconds = time_paired([recorder(log, name) for name in 'abc'], rounds=12, blocks=4)
    assert seconds.shape == (3, 4, 3, 2) and (seconds == [1.0, 2.0]).all()
    assert Counter(entry for entry in log if entry[1] == 'new') == {(name, 'new'): 4 for name in 'abc'}
    timed = [name for name, turn in log if turn == 11]
    assert sorted(timed) == ['a', 'b', 'c']
    # Copies are made before anything of the block runs.
    news = [i for i, entry in enumerate(log) if entry[1] == 'new']
    assert np.diff(news).tolist().count(1) == 4 * 2


def test_the_order_changes_and_repeats_with_the_seed():
    def order(seed):
        log: list = []
        time_paired([recorder(log, name) for name in 'abc'], rounds=20, blocks=2, seed=seed)
        return ''.join(name for name, turn in log if turn != 'new')

    assert order(0) == order(0) != order(1)
    assert len({order(0)[start : start + 3] for start in range(0, 60, 3)}) > 3


def test_rounds_follow_from_the_seconds():
    def sleeper():
        import time

        return lambda turn: (time.sleep(0.002), (0.002,))[1]

    assert time_paired([sleeper], seconds=0.001, blocks=2).shape == (1, 2, 3, 1)  # the fewest
    assert 3 <= time_paired([sleeper], seconds=0.1, blocks=2).shape[2] <= 25


def test_rounds_are_made_whole_blocks():
    assert time_paired([recorder([], 'a')], rounds=11, blocks=10).shape == (1, 10, 2, 2)
    assert time_paired([recorder([], 'a')], rounds=3, blocks=10).shape == (1, 3, 1, 2)
    for wrong in ({'rounds': 1}, {'blocks': 1}):
        with pytest.raises(ConfigError, match='at least 2 rounds, found 1'):
            time_paired([recorder([], 'a')], **wrong)


def test_garbage_is_collected_again_afterwards():
    def broken():
        def step(turn):
            raise RuntimeError('broken')

        return step

    with pytest.raises(RuntimeError, match='broken'):
        time_paired([broken], rounds=2)
    assert gc.isenabled()


def simulated(rng: np.random.Generator, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Times (K, R) of two things: a drift that both feel, an effect of each copy, noise, disturbed rounds."""
    drift = np.exp(np.cumsum(rng.normal(0, 0.1, 60))).reshape(10, 6)
    both = []
    for own in (1.0, factor):
        copies = np.exp(rng.normal(0, 0.02, (10, 1)))
        noise = np.exp(rng.normal(0, 0.05, (10, 6)))
        disturbed = np.where(rng.random((10, 6)) < 0.05, 10.0, 1.0)
        both.append(0.01 * own * drift * copies * noise * disturbed)
    return both[0], both[1]


@pytest.mark.parametrize('factor', [1.0, 1.3])
def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says(factor):
    rng = np.random.default_rng(0)
    hits, widths = 0, []
    for _ in range(400):
        first, second = simulated(rng, factor)
        found = ratio_interval(second, first, confidence=0.9)
        hits += found.low <= factor <= found.high
        widths.append(found.high / found.low)
    # Binomial with n = 400, p = .9: standard deviation .015.
    assert 0.86 < hits / 400 < 0.96
    assert np.median(widths) < 1.12  # and it is narrow, although the drift multiplies times by 2 and more


def test_a_level_knows_of_the_drift_that_a_ratio_does_not_feel():
    first, second = simulated(np.random.default_rng(1), 1.0)
    wide, narrow = mean_interval(first), ratio_interval(second, first)
    assert wide.low < wide.value < wide.high and np.log(wide.high / wide.low) > 3 * np.log(narrow.high / narrow.low)


def test_of_one_thing_against_itself_the_ratio_is_1():
    first, _ = simulated(np.random.default_rng(2), 1.0)
    found = ratio_interval(first, first)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
