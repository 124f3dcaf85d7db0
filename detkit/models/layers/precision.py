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


def runs_plainly_in_float32(x: Tensor, weight: Tensor) -> bool:
    """Return whether a layer of these tensors computes in float32 on a CPU, and is neither traced nor compiled."""
    return (
        type(x) is Tensor  # and no subclass, which may record operations
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == 'cpu'
        and not torch.jit.is_tracing()
        and not torch.compiler.is_compiling()
        and not in_cpu_autocast()
    )
