"""Full precision inside autocast, for coordinates: a half-precision one would be off by pixels."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(like: Tensor) -> AbstractContextManager:
    """Return a context without autocast on the device of ``like``; 'meta', which has none, needs none."""
    device = like.device.type
    return nullcontext() if device == 'meta' else torch.autocast(device, enabled=False)


def in_cpu_autocast() -> bool:
    """Return whether operations on a CPU run in autocast."""
    try:
        return torch.is_autocast_enabled('cpu')
    except TypeError:  # before PyTorch 2.4
        return torch.is_autocast_cpu_enabled()
