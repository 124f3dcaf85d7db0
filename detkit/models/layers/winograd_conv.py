"""A 3x3 convolution with a quarter of the multiplications, by Winograd's algorithm."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import ceil
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from .precision import runs_plainly_in_float32

# Fewer cells do not repay the transform of the weights, and fewer channels not that of the maps. Measured on a CPU with
# AVX-512.
_MIN_CELLS = 2048
_MIN_CHANNELS = 128
# Tiles whose products are computed at once: what lies between the steps stays in the caches near the cores.
_CHUNK = 192
# Cells of a tile's side: of its output, and of its input.
_OUT, _IN = 4, 6
# The points at which polynomials are evaluated, beside infinity. With the usual ones, 0, 1, -1, 2 and -2, errors of
# rounding are four times as large.
_POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution that keeps the size, in training and prediction in float32 on a CPU with fewer multiplications.

    The map is cut into tiles of 6x6 cells that overlap by 2. Linear combinations of a tile's cells and of a kernel's
    weights are multiplied, and combinations of these 36 products for each pair of channels are the 4x4 outputs, which
    take 144 products otherwise (Lavin and Gray, arXiv:1509.09308, section 4). Gradients are computed in the same way.
    The results are those of ``nn.Conv2d`` but for rounding, whose errors are about as large, and about twice as large
    in gradients of weights. Elsewhere, and for small maps or few channels, this is ``nn.Conv2d``.

    Args:
        in_channels, out_channels: channels before and after.
        bias: whether there is one.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if is_faster(x, self.weight):
            return trained_winograd_conv(x, self.weight, self.bias)
        return super().forward(x)


def is_faster(x: Tensor, weight: Tensor) -> bool:
    """Tell whether ``winograd_conv`` may replace a convolution that keeps the size, and is faster."""
    return (
        runs_plainly_in_float32(x, weight)
        and tuple(weight.shape[2:]) == (3, 3)
        and min(weight.shape[:2]) >= _MIN_CHANNELS
        and x.shape[0] * x.shape[2] * x.shape[3] >= _MIN_CELLS
        and _get_current_dispatch_mode() is None  # which may count operations
    )


class _WinogradConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return winograd_conv(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = [*ctx.needs_input_grad[:2], ctx.has_bias and ctx.needs_input_grad[2]]
        if torch.is_grad_enabled():  # the gradients are to be differentiated
            return torch.ops.aten.convolution_backward(
                grad, x, weight, [len(weight)] if wanted[2] else None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted
            )
        return (
            winograd_conv(grad, weight.flip(2, 3).transpose(0, 1), None) if wanted[0] else None,
            _weight_grad(x, grad).to(weight.dtype) if wanted[1] else None,
            grad.sum((0, 2, 3)) if wanted[2] else None,
        )


def trained_winograd_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return what ``winograd_conv`` does, with gradients that are computed in the same way."""
    return _WinogradConv.apply(x, weight, bias)


def winograd_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``F.conv2d(x, weight, bias, padding=1)``, ``(B, K, h, w)``, but for rounding, and without a gradient.

    Args:
        x: ``(B, C, h, w)``.
        weight: ``(K, C, 3, 3)``.
        bias: ``(K,)``, or None.
    """
    batch, channels, height, width = x.shape
    num_out = len(weight)
    of_outputs, of_kernels, of_inputs = _transforms(x.dtype)
    kernels = (of_kernels @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(-1, channels, num_out)  # (36, C, K)
    padded = _padded(x, 1, 1)
    shape = (batch, num_out, _whole(height), _whole(width))
    y = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    cells = y.permute(0, 2, 3, 1)  # (B, h, w, K)
    for image, rows in _chunks(cells):
        tiles = of_inputs @ _tiles(padded[image, rows.start : rows.stop + 2], _IN)
        products = torch.bmm(tiles.view(len(kernels), -1, channels), kernels)  # (36, T, K)
        outputs = (of_outputs @ products.flatten(1)).view(_OUT, _OUT, len(rows) // _OUT, -1, num_out)
        outputs = outputs.permute(2, 0, 3, 1, 4)  # (r, 4, t, 4, K)
        own = cells[image, rows.start : rows.stop].view(outputs.shape)
        own.copy_(outputs) if bias is None else torch.add(outputs, bias, out=own)
    return y if y.shape[2:] == x.shape[2:] else y[..., :height, :width].clone(memory_format=torch.channels_last)


def _weight_grad(x: Tensor, grad: Tensor) -> Tensor:
    """Return the gradient of the weights ``(K, C, 3, 3)``, from the input and the gradient of the output."""
    channels, num_out = x.shape[1], grad.shape[1]
    of_outputs, of_kernels, of_inputs = _transforms(x.dtype)
    padded, grad = _padded(x, 1, 1), _padded(grad, 0, 0)
    total = x.new_zeros(_IN * _IN, channels, num_out)
    for image, rows in _chunks(grad):
        tiles = of_inputs @ _tiles(padded[image, rows.start : rows.stop + 2], _IN)
        grads = of_outputs.t() @ _tiles(grad[image, rows.start : rows.stop], _OUT)
        total.baddbmm_(tiles.view(len(total), -1, channels).transpose(1, 2), grads.view(len(total), -1, num_out))
    return (of_kernels.t() @ total.flatten(1)).view(3, 3, channels, num_out).permute(3, 2, 0, 1)


@cache
def _transforms(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return the matrices of outputs ``(16, 36)``, kernels ``(36, 9)`` and inputs ``(36, 36)``, all cells in a row.

    They are those of Toom and Cook's multiplication of polynomials, transposed: a kernel and outputs are evaluated at
    the points and at infinity, and inputs take part with the coefficients of the polynomials that interpolate.
    """
    points = np.array(_POINTS)
    outputs, kernels = (
        np.vstack([np.vander(points, size, increasing=True), np.eye(size)[-1]]) for size in (_OUT, 3)
    )  # (6, 4) and (6, 3)
    inputs = np.zeros((_IN, _IN))
    for index, point in enumerate(points):
        others = np.delete(points, index)
        inputs[index, :-1] = np.poly(others)[::-1] / np.prod(point - others)
    inputs[-1] = np.poly(points)[::-1]
    found = (np.kron(each, each) for each in (outputs.T, kernels, inputs))
    return tuple(torch.from_numpy(each).to(dtype) for each in found)


def _whole(side: int) -> int:
    """Return a side that whole tiles fill."""
    return -(-side // _OUT) * _OUT


def _padded(x: Tensor, before: int, after: int) -> Tensor:
    """Return a map whose sides whole tiles fill, with a border: ``(B, C, h, w) -> (B, h', w', C)``."""
    height, width = x.shape[2:]
    below, right = _whole(height) - height + after, _whole(width) - width + after
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, before, right, before, below)).contiguous()


def _chunks(y: Tensor) -> Iterator[tuple[int, range]]:
    """Yield an image of ``(B, h, w, C)`` and some of its rows, which hold about ``_CHUNK`` tiles."""
    tiles_high, tiles_wide = y.shape[1] // _OUT, y.shape[2] // _OUT
    parts = min(ceil(tiles_high * tiles_wide / _CHUNK), tiles_high)
    step = ceil(tiles_high / parts) * _OUT
    for image in range(len(y)):
        for first in range(0, y.shape[1], step):
            yield image, range(first, min(first + step, y.shape[1]))


def _tiles(x: Tensor, side: int) -> Tensor:
    """Return tiles of ``side`` cells, one each ``_OUT`` cells: ``(h, w, C) -> (side * side, r * t * C)``."""
    tiles = x.unfold(0, side, _OUT).unfold(1, side, _OUT)  # (r, t, C, side, side)
    return tiles.permute(3, 4, 0, 1, 2).reshape(side * side, -1)
