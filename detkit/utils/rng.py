"""Random numbers by key: the same key gives the same numbers in every process."""

import numpy as np


def keyed_rng(seed: int, *counters: int) -> np.random.Generator:
    """Return a generator that depends on ``seed`` and ``counters`` alone.

    Every random choice of the data pipeline is keyed by (seed, epoch, position), so that a batch does not depend on
    how many workers or ranks there are, nor on where a run was resumed.

    Args:
        seed: the run's seed, >= 0.
        counters: non-negative integers that name the draw, such as epoch and position.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, len(counters), *counters])))
