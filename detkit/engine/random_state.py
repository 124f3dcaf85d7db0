"""The global random generators: seed, capture, restore and preserve."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import sync_random_seed

from detkit.utils.errors import ConfigError


def seed_everything(seed: int | None, deterministic: bool = False) -> int:
    """Seed every global generator.

    Args:
        seed: None for one drawn at random, the same on every process.
        deterministic: also forbid algorithms whose result may vary from run to run.

    Returns:
        The seed.
    """
    if seed is not None and not 0 <= seed < 2**32:
        raise ConfigError(f'randomness.seed must be from 0 to {2**32 - 1}, found {seed}')
    if deterministic:
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # read by cuBLAS when it starts
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.use_deterministic_algorithms(True, warn_only=True)
    seed = sync_random_seed() if seed is None else seed
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # of every device
    return seed


def capture_random_state() -> dict[str, Any]:
    """Return the states of Python's, NumPy's, PyTorch's and CUDA's generators, as plain types and tensors."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    state = {
        'python': random.getstate(),
        'numpy': [str(name), torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Restore the states that ``capture_random_state`` returned."""
    version, internal, gauss = state['python']
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state['numpy']
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Restore the generators at the end of the block.

    A data loader draws a seed from torch's generator each time workers start, so that without this the weights of a run
    would depend on its number of workers and on how often it validates.
    """
    state = capture_random_state()
    try:
        yield
    finally:
        restore_random_state(state)
