"""Number of parameters and of floating-point operations of a model."""

import copy

import torch
from torch import Tensor, nn

from detkit.models.layers.normalization import FrozenBatchNorm2d

# Layers that count for nothing, whose output is shaped as their input, and which take longest to trace.
_UNCOUNTED = (
    *(nn.BatchNorm2d, FrozenBatchNorm2d, nn.LayerNorm),
    *(nn.GELU, nn.Hardswish, nn.LeakyReLU, nn.Mish, nn.ReLU, nn.SiLU),
)


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters, frozen ones included."""
    return sum(param.numel() for param in model.parameters())


def count_flops(model: nn.Module, size: tuple[int, int]) -> int | None:
    """Count the floating-point operations (2 per multiply-add) of one image of ``size`` (h, w).

    They are counted on tensors without data, so nothing is computed.

    Returns:
        The count; None for a model that does not run on such tensors.
    """
    from torch.utils.flop_counter import FlopCounterMode  # comes with a compiler, and counting is all that needs it

    try:
        shadow = _without_data(model).eval()
        for module in shadow.modules():
            if type(module) in _UNCOUNTED:
                module.forward = _identity
        inputs = torch.empty(1, 3, *size, device='meta')
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            shadow(inputs, mode='tensor')
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return None
    return counter.get_total_flops()


def _without_data(model: nn.Module) -> nn.Module:
    """Return a copy of a model on 'meta', for which its tensors are not copied."""
    empty: dict[int, Tensor] = {}
    for param in model.parameters():
        empty[id(param)] = nn.Parameter(torch.empty_like(param, device='meta'), requires_grad=False)
    for buffer in model.buffers():
        empty[id(buffer)] = torch.empty_like(buffer, device='meta')
    return copy.deepcopy(model, empty)


def _identity(x: Tensor) -> Tensor:
    return x
