"""Convolutions whose gradients are computed by matrix products where those of oneDNN are slow: without AVX-512."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from .norm_silu import are_watched
from .precision import runs_plainly_in_float32
from .winograd_conv import is_faster, trained_winograd_conv

# B images, C channels before, K after, h x w cells after.

_MIN_CHANNELS = {1: 64, 2: 32}  # by stride: fewer do not repay the copies
_CHUNK = 1 << 20  # numbers of the copies of inputs that are multiplied at once


def convolve(conv: nn.Module, x: Tensor) -> Tensor:
    """Return ``conv(x)``, ``(B, K, h, w)``, of a convolution that is trained.

    On x86 processors without AVX-512 oneDNN computes the gradient of weights of channels_last at a quarter to a half of
    the processor's peak. Convolutions of 3x3 in float32 have it from matrix products there, and those with many
    channels all of their gradients from Winograd's algorithm. Results are those of the layer but for rounding.
    """
    if torch.compiler.is_compiling() or not (has_slow_gradients() and _is_learnt(conv, x)):
        return conv(x)
    if conv.stride == (1, 1) and is_faster(x, conv.weight):
        return trained_winograd_conv(x, conv.weight, conv.bias)
    fewest = _MIN_CHANNELS.get(conv.stride[0])
    if fewest is None or min(conv.in_channels, conv.out_channels) < fewest:
        return conv(x)
    return _Conv.apply(x, conv.weight, conv.bias, conv.stride)


@cache
def has_slow_gradients() -> bool:
    """Return whether oneDNN's gradients of weights are slow here; measured on a processor with AVX2 alone."""
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == 'AVX2'


def _is_learnt(conv: nn.Module, x: Tensor) -> bool:
    """Return whether a layer is a plain convolution of 3x3 whose weights learn, and nobody looks at it."""
    return (
        type(conv) is nn.Conv2d
        and torch.is_grad_enabled()
        and conv.weight.requires_grad
        and (conv.kernel_size, conv.padding, conv.dilation, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)
        and conv.stride[0] == conv.stride[1]
        and conv.padding_mode == 'zeros'
        and x.dim() == 4
        and x.numel() > 0
        and runs_plainly_in_float32(x, conv.weight)
        and _get_current_dispatch_mode() is None  # which may count operations
        and not are_watched(conv)
    )


class _Conv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.has_bias = stride, bias is not None
        return F.conv2d(x, weight, bias, stride, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = *ctx.needs_input_grad[:2], ctx.has_bias and ctx.needs_input_grad[2]
        own = of_weight and not torch.is_grad_enabled()  # otherwise the gradients are to be differentiated
        grads = torch.ops.aten.convolution_backward(
            grad,
            x,
            weight,
            [len(weight)] if of_bias else None,
            ctx.stride,
            (1, 1),
            (1, 1),
            False,
            (0, 0),
            1,
            (of_x, of_weight and not own, of_bias),
        )
        return grads[0], _weight_gradient(x, grad, ctx.stride[0]) if own else grads[1], grads[2], None


def _weight_gradient(x: Tensor, grad: Tensor, stride: int) -> Tensor:
    """Return the gradient of weights ``(K, C, 3, 3)``, from the input and the gradient ``(B, K, h, w)`` of the output.

    Some rows at a time, the 3x3 inputs of each cell are copied side by side, ``(cells, 9 C)``, and multiplied with the
    gradients ``(cells, K)``.
    """
    channels, (num_out, height, width) = x.shape[1], grad.shape[1:]
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()  # (B, H + 2, W + 2, C)
    windows = padded.unfold(1, 3, stride).unfold(2, 3, stride).permute(0, 1, 2, 4, 5, 3)  # (B, h, w, 3, 3, C)
    grads = grad.permute(0, 2, 3, 1)
    total = x.new_zeros(num_out, 9 * channels)
    rows = max(1, _CHUNK // (9 * channels * width))
    for image in range(len(x)):
        for first in range(0, height, rows):
            columns = windows[image, first : first + rows].reshape(-1, 9 * channels)
            total.addmm_(grads[image, first : first + rows].reshape(-1, num_out).t(), columns)
    return total.view(num_out, 3, 3, channels).permute(0, 3, 1, 2)
