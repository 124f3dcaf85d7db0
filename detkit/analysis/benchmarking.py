"""Timing several things against each other on a machine that does other work too.

Things are timed in turns, in an order drawn anew each round, so that whatever slows the machine down hits all of them
alike, and a ratio is taken within a round. What would still favour one of them for as long as a process lives (where
its weights lie in memory) is drawn anew a few times: the rounds fall into blocks, and each block starts with fresh
copies. Intervals come from the blocks: the median of each is one observation, and Student's t makes an interval of the
mean of their logarithms. So an interval knows of both kinds of chance, and two copies of one thing have a ratio of 1
within it.
"""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from torch import nn

from detkit.analysis.bootstrap import Interval
from detkit.engine.amp import resolve_amp
from detkit.inference import Predictor
from detkit.utils.errors import ConfigError
from detkit.utils.rng import keyed_rng

# What is timed: called with the number of the round, it does its work once and says how long its phases took (s).
Step = Callable[[int], Sequence[float]]

BLOCKS = 10
_WARMUP = (3, 1)  # rounds before the first block, which also settle caches and clocks, and before each later one
_ROUNDS_PER_BLOCK = (3, 100)  # fewest, most


def interleave(makers: Sequence[Callable[[], Step]], seconds: float = 10., rounds: int | None = None,
               blocks: int = BLOCKS, seed: int = 0) -> np.ndarray:
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
    try:
        for block in range(blocks):
            steps: dict[int, Step] = {i: makers[i]() for i in rng.permutation(len(makers))}
            gc.collect()
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
            del steps
            if collects:
                gc.enable()
    finally:
        if collects:
            gc.enable()
    return np.array(found)


def level(seconds: np.ndarray, confidence: float = 0.95) -> Interval:
    """The time of one thing with its interval.

    Args:
        seconds: ``(K, R)``.
        confidence: how often the interval is to hold what endless timing would give.
    """
    return _of_blocks(np.median(np.log(seconds), axis=1), confidence)


def ratio(seconds: np.ndarray, first: np.ndarray, confidence: float = 0.95) -> Interval:
    """How many times as long as another thing one takes; arguments as ``level``, timed in the same rounds."""
    return _of_blocks(np.median(np.log(seconds) - np.log(first), axis=1), confidence)


def _of_blocks(logs: np.ndarray, confidence: float) -> Interval:
    """The mean ``(K,)`` observations' exponential with the interval of Student's t."""
    half = stats.t.ppf((1 + confidence) / 2, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    return Interval(*(float(np.exp(logs.mean() + shift)) for shift in (0., -half, half)))


def synchronize(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def time_networks(models: Sequence[tuple[str | Path, str | Path | None]], options: Sequence[str] | dict | None = None,
                  device: str | None = None, batch_size: int = 1, img_size: int | None = None, amp: bool | str = False,
                  seconds: float = 5., rounds: int | None = None, confidence: float = 0.95,
                  seed: int = 0) -> list[Interval]:
    """Milliseconds an image that networks take, from a normalised image to raw predictions, timed in turns.

    Batch normalisation is folded into the convolutions, as prediction does. The input is square noise.

    Args:
        models: config and checkpoint of each; None for random weights, which are as fast.
        options: changes to all the configs, as ``--cfg-options``.
        device: where to run; the accelerator if there is one by default.
        batch_size: images at a time.
        img_size: side of the images; each config's test size by default.
        amp: True, 'bf16' or 'fp16' for mixed precision.
        seconds, rounds, seed: see ``interleave``.
        confidence: of the intervals.

    Returns:
        An interval each.

    Raises:
        ConfigError, CheckpointError: see ``init_detector``.
    """
    predictors = [Predictor(config, checkpoint, device=device, img_size=img_size, options=options)
                  for config, checkpoint in models]
    makers = [network_maker(predictor.model, (batch_size, 3, predictor.img_size, predictor.img_size), amp)
              for predictor in predictors]
    taken = interleave(makers, seconds, rounds, seed=seed)[..., 0] * 1e3 / batch_size
    return [level(own, confidence) for own in taken]


def network_maker(model: nn.Module, shape: tuple[int, int, int, int], amp: bool | str = False) -> Callable[[], Step]:
    """For ``interleave``: the network of a detector on noise ``(B, 3, H, W)``."""
    device = next(model.parameters()).device
    dtype = resolve_amp(amp, device)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    inputs = model.data_preprocessor({'inputs': images}, training=False)['inputs']

    def make() -> Step:
        network, own_inputs = copy.deepcopy(model), inputs.clone()

        @torch.inference_mode()
        def step(turn: int) -> tuple[float]:
            synchronize(device)
            began = time.perf_counter()
            with nullcontext() if dtype is None else torch.autocast(device.type, dtype):
                network(own_inputs, mode='tensor')
            synchronize(device)
            return (time.perf_counter() - began,)

        return step

    return make
