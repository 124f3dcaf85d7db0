"""Full precision inside autocast, for coordinates: a half-precision one would be off by pixels."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from .plain_tensors import is_plain


def full_precision(like: Tensor) -> AbstractContextManager:
    """Return a context without autocast on the device of ``like``; 'meta', which has none, needs none."""
    device = like.device.type
    return nullcontext() if device == 'meta' else torch.autocast(device, enabled=False)


def autocast_type(device: str) -> torch.dtype | None:
    """Return the half-precision type that autocast gives to operations on a kind of device, None outside of it."""
    if device == 'meta':
        return None
    if hasattr(torch, 'get_autocast_dtype'):
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    if device == 'cpu':  # before PyTorch 2.4
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def type_of_weights(layer: nn.Module) -> torch.dtype:
    """Return the type of a layer's weights; it may be one around another layer, such as an adapter of low rank."""
    return next(layer.parameters()).dtype


def cast_once(*tensors: Tensor) -> list[Tensor]:
    """Return inputs of linear layers in the type that autocast gives them; outside of autocast, as they are.

    Layers that share an input would each cast it for themselves, and keep their copy for the gradient. A tensor that is
    given twice is cast once.
    """
    dtype = autocast_type(tensors[0].device.type)
    if dtype is None:
        return list(tensors)
    cast = {id(x): x.to(dtype) for x in tensors if x.dtype == torch.float32}
    return [cast.get(id(x), x) for x in tensors]


def runs_plainly_in_float32(x: Tensor, weight: Tensor) -> bool:
    """Return whether a layer of these tensors computes in float32 on a CPU, and ``is_plain`` holds."""
    return (
        is_plain(x)
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == 'cpu'
        and autocast_type('cpu') is None
    )
