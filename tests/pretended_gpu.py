"""A GPU that is not there: tensors whose values are on the CPU, and which say that they are on ``cuda:0``.

An operation on tensors of both devices is refused, as are NumPy's views of such a tensor, so that what would fail on a
GPU for its devices fails here. Kernels, streams, mixed precision and speed are not pretended.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

GPU, CPU = torch.device('cuda', 0), torch.device('cpu')
_COPIES = ('aten::copy_', 'aten::_to_copy')
_INDEXING = ('aten::index', 'aten::index_put', 'aten::index_put_', 'aten::_index_put_impl_', 'aten::_unsafe_index')


class PretendedTensor(Tensor):
    """A tensor on the GPU; ``values`` is on the CPU."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> PretendedTensor:
        with torch.inference_mode(False):  # views of parameters would have to count the versions of one made in it
            found = torch.Tensor._make_wrapper_subclass(
                cls,
                values.size(),
                strides=values.stride(),
                storage_offset=values.storage_offset(),
                dtype=values.dtype,
                layout=values.layout,
                device=CPU,
                dispatch_device=True,  # PyTorch asks ``device`` below
            )
        found.values = values
        return found

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def __repr__(self) -> str:
        return f'{self.values!r} on {GPU}'

    def tolist(self) -> list:
        return self.values.tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError(f"can't convert a tensor on {GPU} to NumPy")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with _Operations():
            return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    """Computes with the values, and refuses what a GPU would for the devices of its arguments."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), func._schema.name
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_gpu = [isinstance(tensor, PretendedTensor) for tensor in tensors]
        if any(on_gpu) and name not in _COPIES:
            # Numbers may be anywhere, and so may the indices of a tensor on the GPU.
            others = [tensor for tensor, is_there in zip(tensors, on_gpu, strict=True) if not is_there and tensor.dim()]
            if name in _INDEXING and on_gpu[0]:
                others = [tensor for tensor in others if tensor.dtype.is_floating_point]
            if others:
                raise RuntimeError(f'{func} has tensors on {GPU} and cpu: {[tuple(each.shape) for each in tensors]}')
        device = kwargs.get('device')
        to_gpu = any(on_gpu) if device is None else torch.device(device).type == 'cuda'
        if name == 'aten::copy_':
            to_gpu = on_gpu[0]
        elif device is not None and to_gpu:
            kwargs['device'] = CPU
        if kwargs.get('pin_memory'):
            kwargs['pin_memory'] = False
        found = func(*tree_map(_values, args), **tree_map(_values, kwargs))
        if not to_gpu:
            return found
        found = tree_map(lambda value: PretendedTensor(value) if isinstance(value, Tensor) else value, found)
        if not torch.is_inference_mode_enabled():
            return return_and_correct_aliasing(func, args, kwargs, found)
        written = [arg for arg, about in zip(args, func._schema.arguments, strict=False) if about.is_write]
        written += [kwargs[about.name] for about in func._schema.arguments if about.is_write and about.name in kwargs]
        return written[0] if written and isinstance(found, Tensor) else found


def _values(value: Any) -> Any:
    return value.values if isinstance(value, PretendedTensor) else value


class _Calls(TorchFunctionMode):
    """Answers calls that PyTorch answers before it comes to the operations."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if 'device' in kwargs:
            kwargs['device'] = _whole(kwargs['device'])
        if func in (torch.tensor, torch.as_tensor) and kwargs.get('device') == GPU:
            return _moved(func(*args, **{**kwargs, 'device': CPU}), GPU, None)
        if func is Tensor.new_tensor and isinstance(args[0], PretendedTensor):
            kwargs = dict(dtype=args[0].dtype, device=GPU) | kwargs
            return _moved(torch.tensor(*args[1:], **{**kwargs, 'device': CPU}), kwargs['device'], None)
        if func is Tensor.cpu:
            return _moved(args[0], CPU, None)
        if func is Tensor.to:
            given = [*args[1:], *(kwargs.get(name) for name in ('device', 'dtype', 'other'))]
            given = [each for arg in given for each in ((arg.device, arg.dtype) if isinstance(arg, Tensor) else (arg,))]
            device = next((_whole(each) for each in given if isinstance(each, str | torch.device)), args[0].device)
            if device != args[0].device:
                dtype = next((each for each in given if isinstance(each, torch.dtype)), None)
                memory_format = kwargs.get('memory_format')
                moved = _moved(args[0], device, dtype)
                return moved if memory_format is None else moved.contiguous(memory_format=memory_format)
        return func(*args, **kwargs)


def _whole(device: Any) -> Any:
    """Return a device, of GPUs with the number, for which PyTorch asks the driver."""
    return GPU if device is not None and torch.device(device).type == 'cuda' else device


def _moved(tensor: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    if tensor.device == device and dtype in (None, tensor.dtype):
        return tensor
    return torch.ops.aten._to_copy(tensor, device=device, dtype=dtype)


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Let ``'cuda'`` be a device; modules that are moved to it get other parameters, as PyTorch lets them be shared."""
    answers = dict(
        _lazy_init=lambda: None,
        is_available=lambda: True,
        is_initialized=lambda: False,  # no state of its random numbers is kept
        device_count=lambda: 1,
        current_device=lambda: 0,
        set_device=lambda device: None,
        synchronize=lambda device=None: None,
        get_device_name=lambda device=None: 'a GPU that is not there',
        get_device_capability=lambda device=None: (9, 0),
        mem_get_info=lambda device=None: (1 << 40, 1 << 40),
    )
    future = torch.__future__
    before = future.get_overwrite_module_params_on_conversion()
    move = nn.Module.to
    with pytest.MonkeyPatch.context() as patch, _Calls(), _Operations():
        for name, answer in answers.items():
            patch.setattr(torch.cuda, name, answer)
        patch.setattr(nn.Module, 'to', lambda module, *args, **kwargs: move(module, *_devices_of(args), **kwargs))
        future.set_overwrite_module_params_on_conversion(True)
        try:
            yield
        finally:
            future.set_overwrite_module_params_on_conversion(before)


def _devices_of(args: tuple) -> tuple:
    """Return the arguments of ``Module.to`` with the device and type in place of a tensor on the GPU."""
    return tuple(
        each for arg in args for each in ((GPU, arg.dtype) if isinstance(arg, PretendedTensor) else (_named(arg),))
    )


def _named(arg: Any) -> Any:
    return _whole(arg) if isinstance(arg, str | torch.device) else arg
