"""``recomputed``: values that are computed again for the gradient instead of kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .plain_tensors import is_plain


def recomputed(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ``function(x)``, whose gradient computes again what the function has between its input and its output.

    The function must have no random part. Where nothing has a gradient, and in tracing and compiling, it is simply
    called, as under transforms of ``torch.func``.
    """
    if not torch.is_grad_enabled() or not is_plain(x):
        return function(x)
    return checkpoint(function, x, use_reentrant=False, preserve_rng_state=False)
