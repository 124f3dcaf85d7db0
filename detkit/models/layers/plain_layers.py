"""Whether the weights of a layer may be read in place of a call of it: another module may have replaced it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .norm_silu import has_hooks
from .packed import Packed


def is_plain_layer(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Return whether a layer does with its weights what ``kind``, a class of PyTorch, does, and nobody looks at it.

    It does not where it is an adapter around another layer, which may well have attributes of the same names, has a
    ``forward`` of its own, or has hooks, which may compute its weights.
    """
    does_the_same = isinstance(layer, kind) and (isinstance(layer, Packed) or type(layer).forward is kind.forward)
    return does_the_same and not has_hooks(layer)


def rows_of_table(table: nn.Module, count: int) -> Tensor:
    """Return the first ``count`` vectors ``(count, C)`` of a table; an adapter in its place is called for them."""
    if is_plain_layer(table, nn.Embedding):
        return table.weight if len(table.weight) == count else table.weight[:count]
    device = next(table.parameters()).device
    return table(torch.arange(count, device=device))
