"""Batch normalisation and maximum pooling as one operation, which keeps one tensor for the backward pass less."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .norm_silu import can_recompute, has_hooks


def can_join_pool(bn: nn.Module, pool: nn.Module, x: Tensor) -> bool:
    """Tell whether ``norm_max_pool`` may stand for ``pool(bn(x))``: for the plain two layers, see ``can_recompute``."""
    return type(pool) is nn.MaxPool2d and not pool.return_indices and not has_hooks(pool) and can_recompute(bn, x)


def norm_max_pool(bn: nn.BatchNorm2d, pool: nn.MaxPool2d, x: Tensor) -> Tensor:
    """Return ``pool(bn(x))``, ``(B, C, h, w)``, to the last bit, with the same gradients and running statistics.

    The gradient of pooling needs the indices of the largest values alone, so that what is normalised is not kept.

    Args:
        bn, pool: the layers, for which ``can_join_pool`` holds.
        x: the input, ``(B, C, H, W)``, float32 or bfloat16.
    """
    bn.num_batches_tracked.add_(1)
    sides = [_pair(each) for each in (pool.kernel_size, pool.stride, pool.padding, pool.dilation)]
    window = (*sides, pool.ceil_mode)
    return _NormMaxPool.apply(x, bn.weight, bn.bias, bn.running_mean, bn.running_var, bn.momentum, bn.eps, window)


def _pair(sides: int | tuple[int, int]) -> list[int]:
    return [sides, sides] if isinstance(sides, int) else list(sides)


class _NormMaxPool(torch.autograd.Function):
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
        window: tuple,
    ) -> Tensor:
        y, mean, inverse_std = torch.native_batch_norm(x, weight, bias, running_mean, running_var, True, momentum, eps)
        pooled, indices = torch.ops.aten.max_pool2d_with_indices(y, *window)
        ctx.save_for_backward(x, weight, bias, mean, inverse_std, indices)
        ctx.eps, ctx.window = eps, window
        return pooled

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, inverse_std, indices = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradients are to be differentiated: those of the two layers can be
            y = F.max_pool2d(F.batch_norm(x, None, None, weight, bias, True, 0.0, ctx.eps), *ctx.window)
            wanted = [each for each in (x, weight, bias) if each.requires_grad]
            found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
            grads = [next(found) if each.requires_grad else None for each in (x, weight, bias)]
            return *grads, None, None, None, None, None
        # Of the layer's input the gradient of pooling reads the size only, which is that of x.
        normalised = torch.ops.aten.max_pool2d_with_indices_backward(grad, x, *ctx.window, indices)
        grads = torch.ops.aten.native_batch_norm_backward(
            normalised, x, weight, None, None, mean, inverse_std, True, ctx.eps, list(ctx.needs_input_grad[:3])
        )
        return *grads, None, None, None, None, None
