"""``without_memory``: modules of which only names and shapes count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Beside ``torch.nn.init``, not all of whose functions can be left out as a whole.
_LEFT_OUT = (F.normalize, Tensor.normal_)


@contextmanager
def without_memory() -> Iterator[None]:
    """Build modules on 'meta' inside of the block, whose weights have no memory and no initial values.

    Initialisation is left out, as much of it makes PyTorch import its compiler on 'meta': 150 MiB and a second.
    """
    with torch.device('meta'), _WithoutValues():
        yield


class _WithoutValues(TorchFunctionMode):
    """Leaves out the functions of ``torch.nn.init``, draws in place from a normal distribution, and normalising."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _LEFT_OUT or getattr(func, '__module__', None) == 'torch.nn.init':
            return args[0] if args else next(iter(kwargs.values()))
        return func(*args, **kwargs)
