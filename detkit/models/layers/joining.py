"""When layers may be computed together, without being called one by one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook


def may_join(x: Tensor, *layers: nn.Module) -> bool:
    """Tell whether nobody looks at the layers between their input ``x`` and their output.

    Those are hooks, tracing, compilation, and tensors that are more than numbers, such as those that record operations.
    """
    return (
        type(x) is Tensor
        and not torch.jit.is_tracing()
        and not torch.compiler.is_compiling()
        and not _has_any_global_hook()
        and not any(
            layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
            for layer in layers
        )
    )
