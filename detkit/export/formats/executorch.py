"""ExecuTorch's files, for phones and boards: the graph of ``torch.export`` with the kernels of XNNPACK."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from detkit.export.format import require_cpu
from detkit.export.formats.torch_export import TorchExportFormat
from detkit.export.stored import AppendedFormat, output_names
from detkit.registry import EXPORT_FORMATS
from detkit.utils.errors import CheckpointError, ConfigError, first_line

if TYPE_CHECKING:
    from detkit.export.graph import ExportGraph
    from detkit.export.plan import Plan

_METHOD = 'forward'


@EXPORT_FORMATS.register_module(name='executorch')
class ExecuTorchFormat(AppendedFormat):
    """ExecuTorch, of fixed batch and size. The description is an archive behind the program."""

    name, title, suffix = 'executorch', 'ExecuTorch', '.pte'
    packages = {'executorch': 'executorch'}

    def convert(self, graph: ExportGraph, example: tuple[Tensor, ...], plan: Plan) -> bytes:
        """Return the content of the program."""
        program = TorchExportFormat().convert(graph, example, plan)
        _drop_aliases(program.graph_module)
        disabled = logging.root.manager.disable
        try:
            logging.disable(logging.WARNING)
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter('ignore')
                from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
                from executorch.exir import to_edge_transform_and_lower

                lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
                return bytes(lowered.to_executorch().buffer)
        except Exception as error:  # of any kind: of a pass, of a partitioner, of the emitter
            raise ConfigError(f'ExecuTorch cannot convert this network: {first_line(error)}') from error
        finally:
            logging.disable(disabled)

    def open(self, path: Path, device: torch.device, threads: int) -> ExecuTorchSession:
        require_cpu(device, self.title)
        return ExecuTorchSession(path, output_names(self.read_description(path), path))


class ExecuTorchSession:
    """A file in ExecuTorch, see ``Session``; one call at a time, with as many threads as its own pool has."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        from executorch.runtime import Runtime

        self._origin = (path, names)
        self.runtime = f'executorch {version("executorch")}'
        self._names, self._lock = names, Lock()
        try:
            self._program = Runtime.get().load_program(str(path))
            self._method = self._program.load_method(_METHOD)
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f'{self.runtime} cannot load {path}: {first_line(error)}') from error
        if self._method is None or self._method.metadata.num_outputs() != len(names):
            raise CheckpointError(f'{path} has no network with the outputs {", ".join(names)}; it is damaged')

    def __reduce__(self) -> tuple[Any, ...]:
        """Let copies and other processes load the file again."""
        return type(self), self._origin

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        try:
            with self._lock:
                found = self._method.execute([value.contiguous() for value in inputs.values()])
                # Copies, as the next call writes to the same memory.
                return {name: value.clone() for name, value in zip(self._names, found, strict=True)}
        except RuntimeError as error:
            raise CheckpointError(f'{self.runtime} cannot run the exported network: {first_line(error)}') from error


def _drop_aliases(module: fx.GraphModule) -> None:
    """Let what is the very same tensor, as a slice that cuts nothing, be that tensor.

    ExecuTorch copies it into another order in memory than that of a map in channels_last, and then refuses to run.
    """
    for node in list(module.graph.nodes):
        if node.target is torch.ops.aten.alias.default and all(user.op != 'output' for user in node.users):
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)
    module.recompile()
