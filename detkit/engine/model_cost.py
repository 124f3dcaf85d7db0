"""Size and cost of a model in numbers."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(model: nn.Module) -> int:
    return sum(param.numel() for param in model.parameters())


def count_flops(model: nn.Module, size: tuple[int, int]) -> int | None:
    """Floating-point operations (2 per multiply-add) of one image of ``size`` (h, w) through the network.

    Counted on tensors without data, so nothing is computed. None for a model that does not run on those.
    """
    try:
        shadow = copy.deepcopy(model).to('meta').eval().requires_grad_(False)
        inputs = torch.empty(1, 3, *size, device='meta')
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            shadow(inputs, mode='tensor')
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return None
    return counter.get_total_flops()
