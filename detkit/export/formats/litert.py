"""LiteRT's files (TensorFlow Lite), for phones and small boards."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from detkit.export.format import require_cpu, whole_array
from detkit.export.formats.litert_graph import prepare
from detkit.export.formats.torch_export import TorchExportFormat
from detkit.export.stored import AppendedFormat, output_names
from detkit.registry import EXPORT_FORMATS
from detkit.utils.errors import CheckpointError, ConfigError, first_line

if TYPE_CHECKING:
    from detkit.export.graph import ExportGraph
    from detkit.export.plan import Plan

_SIGNATURE = 'serving_default'


@EXPORT_FORMATS.register_module(name='litert')
class LiteRtFormat(AppendedFormat):
    """LiteRT, of fixed batch and size. The description is an archive behind the network, as metadata of TFLite is."""

    name, title, suffix = 'litert', 'LiteRT', '.tflite'
    packages, converters = {'ai_edge_litert': 'ai-edge-litert'}, {'litert_torch': 'litert-torch'}

    def convert(self, graph: ExportGraph, example: tuple[Tensor, ...], plan: Plan) -> bytes:
        """Return the content of the flat buffer."""
        import litert_torch

        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter('ignore')
                module = TorchExportFormat().convert(graph, example, plan).module()
                prepare(module)
                converted = litert_torch.convert(module, example)
        except Exception as error:  # its errors have no common class of their own
            raise ConfigError(f'LiteRT cannot convert this network: {first_line(error)}') from error
        return converted.model_content()

    def open(self, path: Path, device: torch.device, threads: int) -> LiteRtSession:
        require_cpu(device, self.title)
        return LiteRtSession(path, threads, output_names(self.read_description(path), path))


class LiteRtSession:
    """A file in LiteRT, see ``Session``; one call at a time, as its interpreter holds the tensors."""

    def __init__(self, path: Path, threads: int, names: tuple[str, ...]) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._origin = (path, threads, names)
        self.runtime = f'ai-edge-litert {version("ai-edge-litert")}'
        self._names, self._lock = names, Lock()
        try:
            self._interpreter = Interpreter(str(path), num_threads=threads)
            self._runner = self._interpreter.get_signature_runner(_SIGNATURE)
            self._types = {name: entry['dtype'] for name, entry in self._runner.get_input_details().items()}
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f'{self.runtime} cannot load {path}: {first_line(error)}') from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Let copies and other processes load the file again."""
        return type(self), self._origin

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # LiteRT makes int64 to int32.
        arrays = {f'args_{i}': whole_array(value) for i, value in enumerate(inputs.values())}
        try:
            arrays = {name: value.astype(self._types[name], copy=False) for name, value in arrays.items()}
            with self._lock:
                found = self._runner(**arrays)
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f'{self.runtime} cannot run the exported network: {first_line(error)}') from error
        missing = [i for i in range(len(self._names)) if f'output_{i}' not in found]
        if missing:
            raise CheckpointError(f'the exported network has no output {self._names[missing[0]]!r}; it is damaged')
        return {name: torch.from_numpy(found[f'output_{i}']) for i, name in enumerate(self._names)}
