"""Execution modes of a network: plain, in mixed precision, compiled, by ONNX Runtime."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from detkit.analysis.speed.onnx_network import Network, Preds, onnx_maker
from detkit.engine.amp import resolve_amp
from detkit.utils.errors import ConfigError


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
