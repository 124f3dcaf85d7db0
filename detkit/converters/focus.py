"""The stem of YOLOv5 up to release 5.0 as the convolution that replaced it."""

from __future__ import annotations

from torch import Tensor


def focus_to_conv(weight: Tensor) -> Tensor:
    """The kernel of a strided convolution that does what a Focus stem does: ``(out, 4 C, k, k) -> (out, C, 2k, 2k)``.

    Focus takes every second pixel of the image four times (even rows and columns; odd rows; odd columns; both odd),
    stacks the four as channels and convolves them. That is one convolution of stride 2 on the image itself, with twice
    the kernel size and padding.
    """
    out_channels, channels, height, width = weight.shape
    parts = weight.view(out_channels, 2, 2, channels // 4, height, width)  # odd column, odd row, C, k, k
    return parts.permute(0, 3, 4, 2, 5, 1).reshape(out_channels, channels // 4, 2 * height, 2 * width)
