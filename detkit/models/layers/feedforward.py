"""``feedforward``: two linear layers with an activation between them, whose training passes over memory less often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._C import _len_torch_dispatch_stack

from .linear import Linear
from .norm_silu import are_watched
from .packed import activated, activation_name, can_pack, computes_in
from .plain_tensors import is_plain
from .precision import autocast_type
from .recomputed import recomputed

# R vectors, C channels before and after, H channels between the two layers.

_MIN_ROWS = 256  # fewer do not repay the function's own work
_FUNCTIONS = {'relu': F.relu, 'gelu': F.gelu}


def feedforward(first: nn.Module, act: Callable[[Tensor], Tensor], last: nn.Module, x: Tensor) -> Tensor:
    """Return ``last(act(first(x)))``, ``(..., C)``.

    In training on a CPU, ReLU is part of the first product, and the gradient of an activation is written over that of
    its output. What GELU returns is computed again for the gradient, as it would be kept beside its input. Results are
    those of the layers but for rounding. Prediction has packed weights, see ``activated``.

    Args:
        first, last: linear layers, or what stands for them.
        act: the activation.
        x: ``(..., C)``.
    """
    if not torch.is_grad_enabled():
        return last(activated(first, act, x))
    name = activation_name(act) if _are_plain(first, act, last) else None
    dtype = _type_of_products(first, last, x) if name in _GRADIENTS else None
    if dtype is not None:
        tensors = (x.flatten(0, -2), first.weight, first.bias, last.weight, last.bias)
        return _FeedForward.apply(*(tensor.to(dtype) for tensor in tensors), name).unflatten(0, x.shape[:-1])
    hidden = first(x)
    return recomputed(lambda hidden: last(act(hidden)), hidden) if name == 'gelu' else last(act(hidden))


def _are_plain(first: nn.Module, act: Callable[[Tensor], Tensor], last: nn.Module) -> bool:
    """Return whether the layers are this package's own, and nobody looks at what passes between them."""
    return type(first) is type(last) is Linear and not are_watched(first, act, last)


def _type_of_products(first: Linear, last: Linear, x: Tensor) -> torch.dtype | None:
    """Return the type that ``_FeedForward`` computes in where it may stand for the layers; None elsewhere."""
    if not (is_plain(x) and x.device.type == 'cpu'):
        return None
    if x.numel() < _MIN_ROWS * x.shape[-1] or x.shape[-1] != first.in_features or _len_torch_dispatch_stack():
        return None
    parameters = (first.weight, first.bias, last.weight, last.bias)
    if any(type(parameter) is not nn.Parameter or parameter.dtype != torch.float32 for parameter in parameters):
        return None
    dtype = autocast_type('cpu') or torch.float32
    has_products = dtype == torch.float32 or (_uses_onednn() and computes_in(dtype))
    return dtype if has_products and x.dtype in (torch.float32, dtype) else None


def _uses_onednn() -> bool:
    return torch.backends.mkldnn.enabled and can_pack()


class _FeedForward(torch.autograd.Function):
    """``(R, C)`` to ``(R, C)``, of tensors of one type, float32 or bfloat16."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor, act: str
    ) -> Tensor:
        kept = _product(x, weight1, bias1, 'relu' if act == 'relu' else 'none')  # (R, H)
        ctx.save_for_backward(x, weight1, bias1, weight2, bias2, kept)
        ctx.act = act
        return _product(_activated(kept, act), weight2, bias2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight1, bias1, weight2, bias2, kept = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradients are to be differentiated: those of PyTorch's operations can be
            inputs = (x, weight1, bias1, weight2, bias2)
            y = F.linear(_FUNCTIONS[ctx.act](F.linear(x, weight1, bias1)), weight2, bias2)
            wanted = [each for each in inputs if each.requires_grad]
            found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
            return *(next(found) if each.requires_grad else None for each in inputs), None
        of_x, of_weight1, of_bias1, of_weight2, of_bias2, _ = ctx.needs_input_grad
        grads: list[Tensor | None] = [None] * 6
        grad = grad.contiguous()
        if of_weight2:
            grads[3] = _weight_gradient(grad, _activated(kept, ctx.act))
        if of_bias2:
            grads[4] = grad.sum(0)
        if of_x or of_weight1 or of_bias1:
            grad = _GRADIENTS[ctx.act](_product(grad, weight2.t()), kept)
            if of_weight1:
                grads[1] = _weight_gradient(grad, x)
            if of_bias1:
                grads[2] = grad.sum(0)
            if of_x:
                grads[0] = _product(grad, weight1.t())
        return tuple(grads)


def _activated(kept: Tensor, act: str) -> Tensor:
    """Return the activated values ``(R, H)`` of what is kept of them: the values themselves for ReLU."""
    return kept if act == 'relu' else F.gelu(kept)


# Gradients of activations, of that of their output, over which they are written, and of what is kept.
_GRADIENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'relu': lambda grad, kept: torch.ops.aten.threshold_backward.grad_input(grad, kept, 0, grad_input=grad),
    'gelu': lambda grad, kept: torch.ops.aten.gelu_backward.grad_input(grad, kept, grad_input=grad),
}


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None, act: str = 'none') -> Tensor:
    """Return ``act(x @ weightᵀ + bias)``, of ``(R, n)``, ``(m, n)`` and ``(m,)``."""
    if _uses_onednn():
        return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, act, [], '')
    y = F.linear(x, weight, bias)
    return y.relu_() if act == 'relu' else y


def _weight_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """Return ``gradᵀ @ x``, ``(m, n)`` of ``(R, m)`` and ``(R, n)``."""
    if grad.dtype != torch.float32 or not _uses_onednn():
        return grad.t() @ x
    if grad.shape[1] < x.shape[1]:  # the kernel below is faster with more outputs than inputs
        return _weight_gradient(x, grad).t().contiguous()
    # oneDNN's gradient of a convolution of 1x1 is faster than MKL's product, see ``Linear``.
    grad, x = (each[None, None].permute(0, 3, 1, 2) for each in (grad, x))  # (R, n) -> (1, n, 1, R)
    weight = grad.new_empty(1).expand(grad.shape[1], x.shape[1], 1, 1)  # whose values are not read
    found = torch.ops.aten.convolution_backward(
        grad, x, weight, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1, (False, True, False)
    )
    return found[1].flatten(1)
