"""TorchScript files, run by PyTorch without detkit's classes, also from C++."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from detkit.export.format import META_KEY, ExportFormat
from detkit.export.stored import output_names, stored_text
from detkit.registry import EXPORT_FORMATS
from detkit.utils.errors import CheckpointError, ConfigError, first_line

if TYPE_CHECKING:
    from detkit.export.graph import ExportGraph
    from detkit.export.plan import Plan

_NAME = f'{META_KEY}.json'


@EXPORT_FORMATS.register_module(name='torchscript')
class TorchScriptFormat(ExportFormat):
    """TorchScript by tracing. A file is a program of PyTorch's interpreter, which can write files: it needs trust."""

    name, title, suffix = 'torchscript', 'TorchScript', '.torchscript'
    half, trusted_only = True, True

    def convert(self, graph: ExportGraph, example: tuple[Tensor, ...], plan: Plan) -> Any:
        """Return the traced module."""
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter('ignore')  # on shapes that become constants, as they may
                return torch.jit.freeze(torch.jit.trace(graph, example, check_trace=False).eval())
        except (RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f'this network cannot be traced: {first_line(error)}') from error

    def write(self, network: Any, description: str, path: Path) -> None:
        # From memory, as PyTorch's own writing ends the process (SIGABRT) where the disk is full.
        path.write_bytes(network.save_to_buffer(_extra_files={_NAME: description}))

    def read_description(self, path: Path) -> str | None:
        return stored_text(path, f'/extra/{_NAME}')

    def open(self, path: Path, device: torch.device, threads: int) -> TorchSession:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore', FutureWarning)  # of TorchScript as such
                module = torch.jit.load(str(path), map_location=device)
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f'{path} cannot be loaded: {first_line(error)}') from error
        names = output_names(self.read_description(path), path)
        return TorchSession(module, names, device, f'torchscript {torch.__version__}')


class TorchSession:
    """A module of PyTorch with tensors in and a tuple of tensors out, see ``Session``."""

    def __init__(self, module: Any, names: tuple[str, ...], device: torch.device, runtime: str) -> None:
        self.runtime = runtime
        self._module, self._names, self._device = module, names, device

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # A compiled network reads the memory as that of its example was laid out, whatever the strides.
        given = [value.to(self._device).contiguous() for value in inputs.values()]
        try:
            with torch.no_grad():
                found = self._module(*given)
        except (RuntimeError, AssertionError, ValueError) as error:  # also of a guard on shapes
            raise CheckpointError(f'{self.runtime} cannot run the exported network: {first_line(error)}') from error
        return {name: value.cpu() for name, value in zip(self._names, found, strict=True)}
