"""Batch normalisation and SiLU as one operation, which keeps one tensor for the backward pass instead of two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from .plain_tensors import is_plain

# Slices of so many channels are copied before the gradient of SiLU is computed. Measured on a CPU with AVX-512.
_FEW_CHANNELS = 32


def can_join(bn: nn.Module, act: nn.Module, x: Tensor) -> bool:
    """Tell whether ``norm_silu`` may stand for ``act(bn(x))``: for the plain two layers, see ``can_recompute``."""
    return type(act) is nn.SiLU and not has_hooks(act) and can_recompute(bn, x)


def can_recompute(bn: nn.Module, x: Tensor) -> bool:
    """Tell whether one operation may stand for the layer ``bn`` and another: in a training step on a CPU.

    Without gradients nothing is kept, and on other devices it was not measured. Layers of another class, or with hooks,
    have to be called themselves.
    """
    return (
        is_plain(x)
        and type(bn) is nn.BatchNorm2d
        and bn.training
        and bn.affine
        and bn.track_running_stats
        and bn.momentum is not None
        and x.device.type == 'cpu'
        and x.dim() == 4
        and x.numel() > x.shape[1]
        and torch.is_grad_enabled()
        and not are_watched(bn)
    )


def has_hooks(layer: nn.Module) -> bool:
    """Tell whether a layer has hooks, or a ``forward`` that its class does not have, which only a call of it runs."""
    return bool(
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
        or 'forward' in vars(layer)
    )


def are_watched(*parts: Callable[..., Tensor]) -> bool:
    """Return whether hooks see what modules among the parts of a network take or return."""
    return _has_any_global_hook() or any(isinstance(part, nn.Module) and has_hooks(part) for part in parts)


def norm_silu(bn: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Return ``F.silu(bn(x))``, ``(B, C, H, W)``, to the last bit, with the same gradients and running statistics.

    Each of the two layers keeps its input for the backward pass: the convolution's output, and what is normalised. The
    latter is computed from the former with one multiplication and addition, so this keeps the former only, and writes
    the activation over what is normalised. The gradient of a part of a concatenation equals the layers' to rounding.

    Args:
        bn: the layer, for which ``can_join`` holds.
        x: its input, ``(B, C, H, W)``, float32 or bfloat16.
    """
    bn.num_batches_tracked.add_(1)
    return _NormSiLU.apply(x, bn.weight, bn.bias, bn.running_mean, bn.running_var, bn.momentum, bn.eps)


def _dense(grad: Tensor) -> Tensor:
    """Return a gradient ``(B, C, H, W)`` whose cells lie one behind the other, where that is faster.

    The gradient of a concatenation is handed to its parts as slices of the channels. PyTorch's gradient of SiLU handles
    cells of a few channels without vector instructions, which takes several times as long as with a copy of the slice.
    """
    is_slice = grad.stride(1) == 1 and not grad.is_contiguous(memory_format=torch.channels_last)
    return grad.contiguous(memory_format=torch.channels_last) if is_slice and grad.shape[1] <= _FEW_CHANNELS else grad


class _NormSiLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
    ) -> Tensor:
        y, mean, inverse_std = torch.native_batch_norm(x, weight, bias, running_mean, running_var, True, momentum, eps)
        ctx.save_for_backward(x, weight, bias, mean, inverse_std)
        ctx.eps = eps
        return F.silu(y, inplace=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, inverse_std = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradients are to be differentiated: those of the two layers can be
            y = F.silu(F.batch_norm(x, None, None, weight, bias, True, 0.0, ctx.eps))
            wanted = [each for each in (x, weight, bias) if each.requires_grad]
            found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
            grads = [next(found) if each.requires_grad else None for each in (x, weight, bias)]
            return *grads, None, None, None, None
        # With a variance of 1 and no epsilon the layer multiplies by the weight that it is given: by the product that
        # the forward pass multiplied by, so that the bits are the same.
        normalised, _, _ = torch.native_batch_norm(
            x, weight * inverse_std, bias, mean, torch.ones_like(mean), False, 0.0, 0.0
        )
        torch.ops.aten.silu_backward.grad_input(_dense(grad), normalised, grad_input=normalised)
        grads = torch.ops.aten.native_batch_norm_backward(
            normalised, x, weight, None, None, mean, inverse_std, True, ctx.eps, list(ctx.needs_input_grad[:3])
        )
        return *grads, None, None, None, None
