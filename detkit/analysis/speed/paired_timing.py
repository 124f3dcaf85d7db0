"""Paired timing of several steps on a machine that has other load, too.

The steps run in turns, in a random order each round, so that other load on the machine affects all of them equally,
and ratios are taken within a round. What could favour a step for the life of a process, such as the addresses of its
weights, is varied as well: the rounds are split into blocks, and each block starts with fresh copies. The median of a
block is one observation, and the interval is Student's t interval of the mean of their logarithms. It thus accounts for
both kinds of noise, and the interval of the ratio of two copies of one step contains 1.
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

# Called with the number of the round, a step does its work once and returns the seconds of its phases.
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
    """Time several steps in turns.

    Args:
        makers: functions that return a fresh copy of a step; called at the start of each block.
        seconds: approximate time for each step; a block has at least 3 rounds.
        rounds: number of rounds in place of a time; rounded up to whole blocks.
        blocks: number of blocks.
        seed: seed of the random orders.

    Returns:
        Seconds ``(V, K, R, P)`` of V steps in K blocks of R rounds and P phases.

    Raises:
        ConfigError: fewer than 2 rounds or blocks, which give no interval.
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
    """Return the mean time of a step with its interval.

    Args:
        seconds: ``(K, R)``.
        confidence: level of the interval.
    """
    return _of_blocks(np.median(np.log(seconds), axis=1), confidence)


def ratio_interval(seconds: np.ndarray, first: np.ndarray, confidence: float = 0.95) -> Interval:
    """Return the ratio of a step's time to that of another in the same rounds; arguments as ``mean_interval``."""
    return _of_blocks(np.median(np.log(seconds) - np.log(first), axis=1), confidence)


def _of_blocks(logs: np.ndarray, confidence: float) -> Interval:
    """Return the exponential of the mean of ``(K,)`` observations with Student's t interval."""
    half = stats.t.ppf((1 + confidence) / 2, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    return Interval(*(float(np.exp(logs.mean() + shift)) for shift in (0.0, -half, half)))


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
