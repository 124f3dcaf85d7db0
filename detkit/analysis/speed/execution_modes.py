"""Execution modes of a network: plain, in mixed precision, compiled, by another runtime."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from detkit.engine.amp import resolve_amp
from detkit.engine.compilation import with_own_code
from detkit.models.detectors.base_detector import Preds
from detkit.utils.errors import ConfigError, first_line

# From what the data preprocessor gives to raw predictions.
Network = Callable[[dict], Preds]


@dataclass(frozen=True)
class ExecutionMode:
    """The way in which a network is run.

    Attributes:
        amp: in mixed precision.
        compiled: by ``torch.compile``.
        runtime: exported, and run by this runtime in float32, see ``run_by_runtime``; empty for PyTorch.
    """

    amp: bool = False
    compiled: bool = False
    runtime: str = ''

    @property
    def name(self) -> str:
        """Name such as 'amp compile'; empty for the plain mode."""
        return ' '.join([*['amp'][: self.amp], *['compile'][: self.compiled], *[self.runtime][: bool(self.runtime)]])

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


def execution_modes(amp: bool = False, compiled: bool = False, runtimes: Sequence[str] = ()) -> list[ExecutionMode]:
    """Return the plain mode and each requested one; mixed precision and compilation also together."""
    return [
        ExecutionMode(use_amp, use_compile)
        for use_compile in (False, True)[: 1 + compiled]
        for use_amp in (False, True)[: 1 + amp]
    ] + [ExecutionMode(runtime=name) for name in runtimes]


def network_maker(model: nn.Module, mode: ExecutionMode) -> Callable[[], Network]:
    """Return a function that makes fresh copies of a detector's network for a mode.

    A network is compiled only once, since that takes minutes; for all shapes that it meets, or with an error.

    Raises:
        ConfigError: the mode is not available here.
    """
    if mode.runtime:
        return lambda: _plain(model)  # a session, of which there are no copies
    if not mode.compiled:
        return lambda: _plain(copy.deepcopy(model))
    own = copy.deepcopy(model)

    def network(inputs: Tensor, mask: Tensor | None) -> Preds:
        return own.head(own.extract_feat(inputs), mask)

    try:
        # fullgraph makes an error of what would be interpreted
        compiled = torch.compile(with_own_code(network), dynamic=False, fullgraph=True)
    except RuntimeError as error:  # a Python or a system that it does not support
        raise ConfigError(f'--compile: {first_line(error)}') from error
    return lambda: _compiled(own, compiled)


def _plain(model: nn.Module) -> Network:
    return lambda data: model(**data, mode='tensor')


def _compiled(model: nn.Module, compiled: Callable) -> Network:
    def network(data: dict) -> Preds:
        mask = model.padding_mask(data['inputs'], data.get('gt'), data.get('data_samples'), 'tensor')
        try:
            return compiled(data['inputs'], mask)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise ConfigError(f'--compile: this network cannot be compiled here: {first_line(error)}') from error
        except getattr(torch._dynamo.exc, 'FailOnRecompileLimitHit', ()) as error:  # older: one of the above
            raise ConfigError(
                '--compile: this network meets more shapes than PyTorch compiles (torch._dynamo.config.recompile_limit)'
            ) from error

    return network
