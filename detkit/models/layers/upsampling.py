"""Upsampling by nearest neighbour or by a transposed convolution, with fast backward passes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .plain_tensors import has_plain_gradients


def upsample_nearest(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample ``(B, C, h, w)`` to ``(B, C, *size)`` by nearest neighbour, in the same memory layout."""
    height, width = x.shape[-2:]
    if x.requires_grad and tuple(size) == (2 * height, 2 * width) and has_plain_gradients():
        return _Double.apply(x)
    return F.interpolate(x, size=size, mode='nearest')


class _Double(torch.autograd.Function):
    """Upsampling by 2; the gradient of a pixel is the sum over the 2x2 pixels that it filled.

    The sum is a pooling, which a CPU computes ten times as fast as the gradient of a general interpolation.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode='nearest')

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return F.avg_pool2d(grad, 2, divisor_override=1)


class BlockDeconv2d(nn.ConvTranspose2d):
    """Transposed convolution whose kernel equals its stride: ``(B, in, H, W) -> (B, out, H * size, W * size)``.

    As every input pixel fills a separate block, a 1x1 convolution to ``size**2 * out`` channels and a rearrangement
    give the same numbers. The backward pass is several times as fast on CPUs as that of the general transposed
    convolution, whose parameters and state dict are the same.

    Args:
        in_channels, out_channels: channels before and after.
        size: kernel size and stride.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int = 2) -> None:
        super().__init__(in_channels, out_channels, size, stride=size)
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        size, channels = self.size, self.out_channels
        weight = self.weight.permute(2, 3, 1, 0).reshape(-1, self.in_channels, 1, 1)  # (size * size * out, in, 1, 1)
        y = F.conv2d(x, weight, self.bias.repeat(size * size))
        y = y.permute(0, 2, 3, 1).reshape(batch, height, width, size, size, channels)  # rows and columns of a block
        y = y.transpose(2, 3).reshape(batch, height * size, width * size, channels)
        return y.permute(0, 3, 1, 2)  # channels_last memory

    def plain(self) -> nn.ConvTranspose2d:
        """Return the general transposed convolution of the same parameters, for formats that lack rearrangements."""
        layer = nn.ConvTranspose2d(self.in_channels, self.out_channels, self.size, stride=self.size)
        layer.weight, layer.bias = self.weight, self.bias
        return layer
