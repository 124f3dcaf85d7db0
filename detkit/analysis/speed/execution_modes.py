"""Execution modes of a network: plain, in mixed precision, compiled, by ONNX Runtime."""

from __future__ import annotations

import copy
import importlib.util
import io
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from detkit.engine.amp import resolve_amp
from detkit.utils.errors import ConfigError

Preds = dict[str, Tensor | list[Tensor]]
# From what the data preprocessor gives to raw predictions.
Network = Callable[[dict], Preds]

_OPSET = 17


@dataclass(frozen=True)
class ExecutionMode:
    """The way in which a network is run.

    Attributes:
        amp: in mixed precision.
        compiled: by ``torch.compile``.
        onnx: exported, and run by ONNX Runtime; in float32.
    """

    amp: bool = False
    compiled: bool = False
    onnx: bool = False

    @property
    def name(self) -> str:
        """Name such as 'amp compile'; empty for the plain mode."""
        return ' '.join(
            name for name, used in (('amp', self.amp), ('compile', self.compiled), ('onnx', self.onnx)) if used
        )

    def precision(self, device: torch.device) -> AbstractContextManager:
        """Return the context to run in.

        Raises:
            ConfigError: the device has no mixed precision that would be faster.
        """
        if not self.amp:
            return nullcontext()
        dtype = resolve_amp(True, device)
        if dtype is None:
            raise ConfigError(f'--amp: {device} has no fast number format for mixed precision')
        return torch.autocast(device.type, dtype)


def execution_modes(amp: bool = False, compiled: bool = False, onnx: bool = False) -> list[ExecutionMode]:
    """Return the plain mode and each requested one; mixed precision and compilation also together."""
    return [
        ExecutionMode(use_amp, use_compile)
        for use_compile in (False, True)[: 1 + compiled]
        for use_amp in (False, True)[: 1 + amp]
    ] + [ExecutionMode(onnx=True)] * onnx


def network_maker(model: nn.Module, mode: ExecutionMode) -> Callable[[], Network]:
    """Return a function that makes fresh copies of a detector's network for a mode.

    A network is compiled only once, since that takes minutes.

    Raises:
        ConfigError: the mode is not available here.
    """
    if mode.onnx:
        return onnx_maker(model)
    if not mode.compiled:
        return lambda: _plain(copy.deepcopy(model))
    try:
        compiled = torch.compile(copy.deepcopy(model), dynamic=False)
    except RuntimeError as error:  # a Python or a system that it does not support
        raise ConfigError(f'--compile: {_first_line(error)}') from error
    return lambda: _compiled(compiled)


def _plain(model: nn.Module) -> Network:
    return lambda data: model(**data, mode='tensor')


def _compiled(model: Callable) -> Network:
    def network(data: dict) -> Preds:
        try:
            return model(data['inputs'], mode='tensor')
        except torch._dynamo.exc.TorchDynamoException as error:
            raise ConfigError(f'--compile: this network cannot be compiled here: {_first_line(error)}') from error

    return network


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def onnx_maker(model: nn.Module) -> Callable[[], Network]:
    """Return a function that makes fresh sessions of a network, which is exported once for every shape of input.

    Raises:
        ConfigError: onnx or onnxruntime are not installed, the model is not on a CPU, or it cannot be exported (when a
            network gets its first input).
    """
    missing = [name for name in ('onnx', 'onnxruntime') if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f'--onnx needs {" and ".join(missing)}: pip install {" ".join(missing)}')
    if next(model.parameters()).device.type != 'cpu':
        raise ConfigError('--onnx is timed on CPUs only: give --device cpu')
    exported: dict[tuple[int, ...], tuple[bytes, list[tuple[str, int | None]]]] = {}

    def make() -> Network:
        sessions = {shape: _session(content) for shape, (content, _) in exported.items()}

        @torch.no_grad()
        def network(data: dict) -> Preds:
            inputs = data['inputs'].contiguous()
            shape = tuple(inputs.shape)
            if shape not in exported:
                exported[shape] = _export(model, inputs)
            content, keys = exported[shape]
            if shape not in sessions:
                sessions[shape] = _session(content)
            return _preds(sessions[shape].run(None, {'inputs': inputs.numpy()}), keys)

        return network

    return make


class _Flat(nn.Module):
    """A detector's network whose output is a tuple of tensors.

    Attributes:
        keys: name of each tensor of the latest call, and its index if the name holds a list.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.keys: list[tuple[str, int | None]] = []

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        tensors = []
        self.keys = []
        for name, value in self.model(inputs, mode='tensor').items():
            is_list = isinstance(value, list | tuple)
            for i, tensor in enumerate(value if is_list else [value]):
                self.keys.append((name, i if is_list else None))
                tensors.append(tensor)
        return tuple(tensors)


def _export(model: nn.Module, inputs: Tensor) -> tuple[bytes, list[tuple[str, int | None]]]:
    flat, content = _Flat(model), io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # on shapes that become constants, as they may, and on the exporter's age
            torch.onnx.export(flat, (inputs,), content, input_names=['inputs'], opset_version=_OPSET, dynamo=False)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f'--onnx: this network cannot be exported: {str(error).splitlines()[0]}') from error
    return content.getvalue(), flat.keys


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])


def _preds(arrays: list, keys: list[tuple[str, int | None]]) -> Preds:
    preds: Preds = {}
    for (name, index), array in zip(keys, arrays, strict=True):
        tensor = torch.from_numpy(array)
        if index is None:
            preds[name] = tensor
        else:
            preds.setdefault(name, []).append(tensor)
    return preds
