"""``without_memory``: modules of which only names and shapes count; ``without_initial_values``: those to be filled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Functions that give a tensor its initial values.
_INITIALIZERS = frozenset(each for each in vars(nn.init).values() if getattr(each, '__module__', '') == 'torch.nn.init')
_LEFT_OUT = _INITIALIZERS | {F.normalize, Tensor.normal_}
# Those that give a parameter its initial values, the last two also where others of ``nn.init`` call them.
_DRAWING = _INITIALIZERS | {Tensor.normal_, Tensor.uniform_}
# Functions that make a tensor, on 'meta' unless they are given a device.
_NAMES = (
    'arange as_tensor asarray empty empty_strided eye full linspace logspace ones rand randint randn randperm tensor '
    'tril_indices triu_indices zeros'
)
_MAKERS = frozenset(getattr(torch, name) for name in _NAMES.split())


@contextmanager
def without_memory() -> Iterator[None]:
    """Build modules on 'meta' inside of the block, whose weights have no memory and no initial values.

    Initialisation is left out, as much of it makes PyTorch import its compiler on 'meta': 150 MiB and a second.
    """
    with _WithoutValues():
        yield


@contextmanager
def without_initial_values() -> Iterator[None]:
    """Build modules whose parameters are all replaced afterwards, such as by those of a checkpoint.

    Parameters get no initial values inside of the block, as drawing them takes as long as reading the checkpoint. Other
    tensors get theirs.
    """
    with _WithoutDrawing():
        yield


class _WithoutDrawing(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWING:
            tensor = args[0] if args else next(iter(kwargs.values()))
            if isinstance(tensor, nn.Parameter):
                return tensor
        return func(*args, **kwargs)


class _WithoutValues(TorchFunctionMode):
    """Makes tensors on 'meta' and leaves out what gives them values.

    ``torch.device('meta')`` beside it would be a second mode, which each call of PyTorch passes.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _MAKERS and kwargs.get('device') is None:
            return func(*args, **{**kwargs, 'device': 'meta'})
        if func in _LEFT_OUT:
            return args[0] if args else next(iter(kwargs.values()))
        return func(*args, **kwargs)
