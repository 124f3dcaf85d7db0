"""Number of parameters and of floating-point operations of a model."""

import copy

import torch
from torch import Tensor, nn


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
        shadow = copy.deepcopy(model).to('meta').eval().requires_grad_(False)
        for module in shadow.modules():
            if isinstance(module, nn.BatchNorm2d):  # counts for nothing, and is what takes longest to trace
                module.forward = _identity
        inputs = torch.empty(1, 3, *size, device='meta')
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            shadow(inputs, mode='tensor')
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return None
    return counter.get_total_flops()


def _identity(x: Tensor) -> Tensor:
    return x
