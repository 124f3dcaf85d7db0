"""Whether a layer may compute in another way than by PyTorch's own operations, so that nobody can tell."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad


def has_plain_gradients() -> bool:
    """Return whether gradients are those of a backward pass, the only ones that this package's own functions have.

    Transforms of ``torch.func`` (``grad``, ``vmap``, ``jvp``, ...) and differentiation in forward mode have rules for
    PyTorch's operations alone. What is compiled may have either.
    """
    if torch.compiler.is_compiling():
        return True
    return not torch._C._are_functorch_transforms_active() and forward_ad._current_level < 0


def is_plain(x: Tensor) -> bool:
    """Return whether operations on ``x`` are run at once, and no one else looks at them.

    Not so in tracing and compiling, where ``has_plain_gradients`` does not hold, and for subclasses of tensors, which
    may record operations.
    """
    return (
        type(x) is Tensor and not torch.jit.is_tracing() and not torch.compiler.is_compiling() and has_plain_gradients()
    )
