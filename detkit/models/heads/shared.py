"""What heads of every kind have in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detkit.utils.errors import ConfigError, nearest


def checked_test_cfg(title: str, test_cfg: dict | None, keys: Sequence[str]) -> dict:
    """A copy of ``test_cfg``; empty for None.

    Args:
        title: the head's class, for the error.
        keys: what it may hold.

    Raises:
        ConfigError: it holds something else.
    """
    for name in test_cfg or ():
        if name not in keys:
            raise ConfigError(f'{title}.test_cfg has no {name!r}; it takes {", ".join(keys)}.{nearest(name, keys)}')
    return dict(test_cfg or {})


def widened(tensor: Tensor) -> Tensor:
    """In at least float32."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
