"""``Linear``: a linear layer that takes the fastest kernel of the processor."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .precision import runs_plainly_in_float32

_MIN_ROWS, _MIN_OUTPUTS = 256, 1 << 15  # fewer do not repay the arrangement of the weights


class Linear(nn.Linear):
    """A linear layer ``(..., in_features) -> (..., out_features)``, as ``nn.Linear``.

    In float32 on an x86 processor PyTorch multiplies matrices by MKL, and convolves by oneDNN, whose products are
    faster where there is AVX-512, the more so on processors that are not Intel's. There many vectors are convolved by a
    kernel of 1x1, without a copy: they are the cells of a map in channels_last. Results are those of ``nn.Linear`` but
    for rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not _convolves_faster(x, self.weight):
            return super().forward(x)
        cells = x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)  # (..., C) -> (1, C, 1, rows)
        y = F.conv2d(cells, self.weight[:, :, None, None], self.bias)
        return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def _convolves_faster(x: Tensor, weight: Tensor) -> bool:
    return (
        runs_plainly_in_float32(x, weight)
        and x.numel() >= max(_MIN_ROWS, _MIN_OUTPUTS / weight.shape[0]) * x.shape[-1] > 0
        and torch.backends.mkldnn.enabled
        and prefers_onednn()
    )


@cache
def prefers_onednn() -> bool:
    """Return whether oneDNN's products are at least as fast as MKL's: on x86 processors with AVX-512.

    With AVX2 alone MKL's were faster in float32, by 0 to 30 %, and oneDNN has none in bfloat16.
    """
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability().startswith('AVX512')
