"""Weights, inputs and fingerprints that two environments agree on, for comparing with a reference implementation.

A parity test does not store the reference's weights. Both sides make them here, from the parameter's *name* and a seed,
so only results need storing: for each tensor its norm, its largest magnitude and 64 samples.

Only raw Philox words are used, whose stream numpy guarantees to stay the same from release to release (its
distributions carry no such promise), so the numbers are the same in every environment.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from math import prod, sqrt

import numpy as np
import torch
from torch import Tensor

NUM_SAMPLES = 64


def _words(size: int, name: str, seed: int) -> np.ndarray:
    bits = np.random.Philox(key=np.array([zlib.crc32(name.encode()), seed], dtype=np.uint64))
    return bits.random_raw(size)


def seeded_array(shape: tuple[int, ...], name: str, seed: int) -> np.ndarray:
    """Uniform float64 numbers in [0, 1) that depend on ``shape``, ``name`` and ``seed`` alone."""
    words = np.atleast_1d(_words(max(prod(shape), 1), name, seed))[: prod(shape)]
    words >>= np.uint64(11)
    return np.multiply(words, 2.0**-53).reshape(shape)


def seeded_tensor(shape: tuple[int, ...], name: str, seed: int) -> Tensor:
    """As ``seeded_array``, a float64 tensor; for inputs, named e.g. ``'image'``."""
    return torch.from_numpy(seeded_array(tuple(shape), name, seed))


def seeded_state(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Weights by name, scaled so that activations neither vanish nor explode.

    Weights of two or more dimensions have variance 2 / fan-in; those of one dimension (normalisation) lie in [.5, 1.5),
    biases and running means in [-.2, .2), running variances in [.5, 1.5); ``num_batches_tracked`` is 0.

    Args:
        shapes: parameter and buffer names, **as the reference calls them**, with their shapes.

    Returns:
        float64 tensors (int64 for ``num_batches_tracked``).
    """
    state = {}
    for name, shape in shapes.items():
        if name.endswith('num_batches_tracked'):
            state[name] = torch.zeros((), dtype=torch.int64)
            continue
        unit = seeded_tensor(shape, name, seed)
        if len(shape) >= 2:
            state[name] = unit.sub_(0.5).mul_(2 * sqrt(3)).mul_(sqrt(2 / prod(shape[1:])))
        elif name.endswith(('bias', 'running_mean')):
            state[name] = unit.sub_(0.5).mul_(0.4)
        else:
            state[name] = unit.add_(0.5)
    return state


def fingerprint(tensor: Tensor, num_samples: int = NUM_SAMPLES) -> np.ndarray:
    """``(2 + min(num_samples, numel),)`` float64: norm, largest magnitude, samples at places fixed by ``numel``."""
    flat = tensor.detach().to('cpu', torch.float64).contiguous().flatten().numpy()
    if flat.size <= num_samples:
        samples = flat
    else:
        samples = flat[_words(num_samples, 'sample places', flat.size) % np.uint64(flat.size)]
    peak = np.abs(flat).max() if flat.size else 0.0
    return np.concatenate([[np.linalg.norm(flat), peak], samples])


def assert_close(actual: Tensor, expected: Tensor | np.ndarray, tolerance: float, what: str = 'tensor') -> None:
    """Checks ``max|actual - expected| <= tolerance * max|expected|``; raises AssertionError otherwise."""
    a = actual.detach().to('cpu', torch.float64).numpy()
    b = np.asarray(expected, dtype=np.float64)
    assert a.shape == b.shape, f'{what}: shape {a.shape}, expected {b.shape}'
    if b.size == 0:
        return
    difference, peak = np.abs(a - b).max(), np.abs(b).max()
    assert difference <= tolerance * peak, f'{what}: differs by {difference:.3e}, of a largest magnitude {peak:.3e}'


def assert_matches(actual: Tensor, expected: np.ndarray, tolerance: float, what: str = 'tensor') -> None:
    """Checks a tensor against the ``fingerprint`` of the expected one, samples relative to the largest magnitude."""
    found = fingerprint(actual, len(expected) - 2)
    assert found.shape == expected.shape, f'{what}: {found.size - 2} samples, expected {expected.size - 2}'
    norm, peak = expected[:2]
    assert abs(found[0] - norm) <= tolerance * norm, f'{what}: norm {found[0]:.12g}, expected {norm:.12g}'
    difference = np.abs(found[1:] - expected[1:]).max()
    assert difference <= tolerance * peak, f'{what}: differs by {difference:.3e}, of a largest magnitude {peak:.3e}'
