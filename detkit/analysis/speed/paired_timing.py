"""Timing several things against each other on a machine that does other work too.

Things are timed in turns, in an order drawn anew each round, so that whatever slows the machine down hits all of them
alike, and a ratio is taken within a round. What would still favour one of them for as long as a process lives (where
its weights lie in memory) is drawn anew a few times: the rounds fall into blocks, and each block starts with fresh
copies. Intervals come from the blocks: the median of each is one observation, and Student's t makes an interval of the
mean of their logarithms. So an interval knows of both kinds of chance, and two copies of one thing have a ratio of 1
within it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import stats

from detkit.analysis.errors.bootstrap import Interval
from detkit.utils.errors import ConfigError
from detkit.utils.rng import keyed_rng

# What is timed: called with the number of the round, it does its work once and says how long its phases took (s).
Step = Callable[[int], Sequence[float]]

BLOCKS = 10
_WARMUP = (3, 1)  # rounds before the first block, which also settle caches and clocks, and before each later one
_ROUNDS_PER_BLOCK = (3, 100)  # fewest, most


def time_paired(
    makers: Sequence[Callable[[], Step]],
    seconds: float = 10.0,
    rounds: int | None = None,
    blocks: int = BLOCKS,
    seed: int = 0,
) -> np.ndarray:
    """Runs several steps in turns.

    Args:
        makers: each gives a fresh copy of what is timed; called at the start of each block.
        seconds: how long to time each thing, about; there are at least 3 rounds a block all the same.
        rounds: how many rounds, whatever they take; rounded up to whole blocks.
        blocks: how often to start with fresh copies.
        seed: of the orders.

    Returns:
        Seconds ``(V, K, R, P)`` of V things in K blocks of R rounds and P phases.

    Raises:
        ConfigError: fewer than 2 rounds or blocks, from which nothing can be said of chance.
    """
    if blocks < 2 or (rounds is not None and rounds < 2):
        raise ConfigError(f'timing needs at least 2 rounds, found {blocks if rounds is None else rounds}')
    if rounds is not None:
        blocks = min(blocks, rounds)
    rng = keyed_rng(seed)
    per_block = None if rounds is None else -(-rounds // blocks)
    found: list[list[list[Sequence[float]]]] = [[] for _ in makers]  # V x K x R x P
    turn = 0
    collects = gc.isenabled()
    gc.freeze()  # so that collecting what a block leaves behind is quick
    try:
        for block in range(blocks):
            steps: dict[int, Step] = {i: makers[i]() for i in rng.permutation(len(makers))}
            gc.disable()
            for _ in range(_WARMUP[block > 0]):
                began = time.perf_counter()
                for i in rng.permutation(len(makers)):
                    steps[i](turn)
                round_time = time.perf_counter() - began
            if per_block is None:
                per_block = int(np.clip(seconds * len(makers) / blocks / round_time, *_ROUNDS_PER_BLOCK))
            for own in found:
                own.append([])
            for _ in range(per_block):
                for i in rng.permutation(len(makers)):
                    found[i][block].append(steps[i](turn))
                turn += 1
            steps.clear()
            gc.collect()
    finally:
        gc.unfreeze()
        if collects:
            gc.enable()
    return np.array(found)


def mean_interval(seconds: np.ndarray, confidence: float = 0.95) -> Interval:
    """The time of one thing with its interval.

    Args:
        seconds: ``(K, R)``.
        confidence: how often the interval is to hold what endless timing would give.
    """
    return _of_blocks(np.median(np.log(seconds), axis=1), confidence)


def ratio_interval(seconds: np.ndarray, first: np.ndarray, confidence: float = 0.95) -> Interval:
    """How many times as long as another thing one takes; arguments as ``level``, timed in the same rounds."""
    return _of_blocks(np.median(np.log(seconds) - np.log(first), axis=1), confidence)


def _of_blocks(logs: np.ndarray, confidence: float) -> Interval:
    """The mean ``(K,)`` observations' exponential with the interval of Student's t."""
    half = stats.t.ppf((1 + confidence) / 2, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    return Interval(*(float(np.exp(logs.mean() + shift)) for shift in (0.0, -half, half)))


def synchronize(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
