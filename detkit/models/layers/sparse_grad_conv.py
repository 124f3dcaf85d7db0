"""A convolution whose gradient is computed at the cells that have one, where these are few."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .plain_tensors import is_plain
from .winograd_conv import is_faster, winograd_conv

# The largest share of cells with a gradient at which their rows are gathered; above it a convolution is faster.
_MAX_SHARE = 0.25
# Cells whose rows are gathered at once.
_CHUNK = 4096


class SparseGradConv2d(nn.Conv2d):
    """A convolution that keeps the size, for layers from whose cells a loss chooses a few.

    A region proposal network learns from 256 anchors of an image, and boxes are learnt at the cells of objects alone:
    the gradient is zero at most cells, and so are the products with it. On a CPU in training they are left out, which
    changes nothing but the order of sums. Elsewhere, and where many cells have a gradient, this is ``nn.Conv2d``.

    Args:
        in_channels, out_channels: channels before and after.
        kernel_size: odd.
        bias: whether there is one.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if _is_learnt(x, self.weight):
            return _SparseGradConv.apply(x, self.weight, self.bias)
        if is_faster(x, self.weight):
            return winograd_conv(x, self.weight, self.bias)
        return super().forward(x)


def _is_learnt(x: Tensor, weight: Tensor) -> bool:
    return (
        is_plain(x) and x.device.type == 'cpu' and torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    )


class _SparseGradConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # Detached: autocast would keep a cast of a weight that is learnt, and this one has no gradient.
        layer = weight.detach(), None if bias is None else bias.detach()
        y = winograd_conv(x, *layer) if is_faster(x, weight) else F.conv2d(x, *layer, padding=weight.shape[-1] // 2)
        ctx.save_for_backward(x.to(y.dtype), weight)
        ctx.input_dtype, ctx.has_bias = x.dtype, bias is not None
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = [*ctx.needs_input_grad[:2], ctx.has_bias and ctx.needs_input_grad[2]]
        rows = grad.permute(0, 2, 3, 1).reshape(-1, grad.shape[1])  # (B * h * w, K)
        cells = rows.abs().amax(1).nonzero().squeeze(1)
        own = weight.to(x.dtype)
        if torch.is_grad_enabled() or len(cells) > _MAX_SHARE * len(rows):
            grads = _dense_grads(grad, x, own, wanted)
        else:
            grads = _sparse_grads(rows[cells], cells, x, own, wanted)
        types = ctx.input_dtype, weight.dtype, weight.dtype
        return tuple(None if each is None else each.to(dtype) for each, dtype in zip(grads, types, strict=True))


def _dense_grads(grad: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]) -> tuple[Tensor | None, ...]:
    padding = [weight.shape[-1] // 2] * 2
    return torch.ops.aten.convolution_backward(
        grad, x, weight, [len(weight)] if wanted[2] else None, [1, 1], padding, [1, 1], False, [0, 0], 1, wanted
    )


def _sparse_grads(
    grad_rows: Tensor, cells: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]
) -> tuple[Tensor | None, ...]:
    """Return the gradients of input, weight and bias, from those ``(N, K)`` at the cells ``(N,)`` of ``(B, h, w)``."""
    batch, channels, height, width = x.shape
    side, dtype = weight.shape[-1], torch.promote_types(x.dtype, torch.float32)  # of sums
    kernel = weight.permute(0, 2, 3, 1).reshape(len(weight), -1)  # (K, taps * C)
    values = x.permute(0, 2, 3, 1).reshape(-1, channels)
    grad_x = x.new_zeros(len(values) + 1, channels, dtype=dtype) if wanted[0] else None
    grad_kernel = torch.zeros_like(kernel, dtype=dtype) if wanted[1] else None
    for rows, own in zip(grad_rows.split(_CHUNK), cells.split(_CHUNK), strict=True):
        places = _tap_places(own, (batch, height, width), side)  # (N, taps)
        if wanted[0]:  # the places of one tap are distinct, except for what is outside
            for tap_places, share in zip(places.unbind(1), (rows @ kernel).split(channels, 1), strict=True):
                grad_x[tap_places] += share
        if wanted[1]:
            patches = values[places.clamp(max=len(values) - 1)]  # (N, taps, C)
            patches.masked_fill_((places == len(values)).unsqueeze(-1), 0)
            grad_kernel += rows.t() @ patches.flatten(1)
    if wanted[0]:
        grad_x = grad_x[:-1].view(batch, height, width, channels).permute(0, 3, 1, 2)
    if wanted[1]:
        grad_kernel = grad_kernel.view(-1, side, side, channels).permute(0, 3, 1, 2)
    return grad_x, grad_kernel, grad_rows.sum(0) if wanted[2] else None


def _tap_places(cells: Tensor, shape: tuple[int, int, int], side: int) -> Tensor:
    """Return the cells ``(N, side * side)`` that a kernel meets about each of ``(N,)``, indices into ``(B, h, w)``.

    What is outside of the map has the index behind the last.
    """
    batch, height, width = shape
    offsets = torch.arange(side, device=cells.device) - side // 2
    image, y, x = cells // (height * width), cells // width % height, cells % width
    y, x = y.view(-1, 1, 1) + offsets.view(-1, 1), x.view(-1, 1, 1) + offsets
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    places = (image.view(-1, 1, 1) * height + y) * width + x
    return places.where(inside, batch * height * width).flatten(1)
