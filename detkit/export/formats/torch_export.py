"""The files of ``torch.export``: a graph of ATen's operators, for PyTorch's own compilers."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from detkit.export.format import META_KEY, ExportFormat
from detkit.export.formats.torchscript import TorchSession
from detkit.export.stored import output_names, stored_text
from detkit.registry import EXPORT_FORMATS
from detkit.utils.errors import CheckpointError, ConfigError, first_line

if TYPE_CHECKING:
    from detkit.export.graph import ExportGraph
    from detkit.export.plan import Plan

_NAME = f'{META_KEY}.json'


@EXPORT_FORMATS.register_module(name='torch_export')
class TorchExportFormat(ExportFormat):
    """``torch.export``. PyTorch makes Python code of the graph that a file holds: it needs trust."""

    name, title, suffix = 'torch_export', 'torch.export', '.pt2'
    half, trusted_only = True, True

    def convert(self, graph: ExportGraph, example: tuple[Tensor, ...], plan: Plan) -> Any:
        """Return the ``ExportedProgram``."""
        axes: dict[int, Any] = {}
        if 'batch' in plan.dynamic:
            axes[0] = torch.export.Dim.DYNAMIC
        if 'size' in plan.dynamic:
            axes |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
        batch = {axis: dim for axis, dim in axes.items() if axis == 0}
        shapes = (axes or None, batch or None)[: len(example)]
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter('ignore')
                return torch.export.export(graph, example, dynamic_shapes=shapes, strict=False)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            raise ConfigError(f'this network cannot be exported by torch.export: {first_line(error)}') from error

    def write(self, network: Any, description: str, path: Path) -> None:
        content = io.BytesIO()  # see TorchScriptFormat
        torch.export.save(network, content, extra_files={_NAME: description})
        path.write_bytes(content.getbuffer())

    def read_description(self, path: Path) -> str | None:
        return stored_text(path, f'/{_NAME}')

    def open(self, path: Path, device: torch.device, threads: int) -> TorchSession:
        try:
            program = torch.export.load(str(path))
        except Exception as error:  # of any kind for what is damaged
            raise CheckpointError(f'{path} cannot be loaded: {first_line(error)}') from error
        names = output_names(self.read_description(path), path)
        return TorchSession(program.module().to(device), names, device, f'torch.export {torch.__version__}')
