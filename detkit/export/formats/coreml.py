"""Core ML's packages, for Apple's devices: converted anywhere, run on macOS and iOS."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from detkit.export.format import META_KEY, ExportFormat, require_cpu, whole_array
from detkit.export.formats.torch_export import TorchExportFormat
from detkit.export.stored import output_names
from detkit.registry import EXPORT_FORMATS
from detkit.utils.errors import CheckpointError, ConfigError, first_line

if TYPE_CHECKING:
    from detkit.export.graph import ExportGraph
    from detkit.export.plan import Plan

_aten = torch.ops.aten
_RANGES = (_aten.arange.default, _aten.arange.start, _aten.arange.start_step)


@EXPORT_FORMATS.register_module(name='coreml')
class CoreMlFormat(ExportFormat):
    """Core ML's programs, of fixed batch and size; in half precision, they compute in it."""

    name, title, suffix = 'coreml', 'Core ML', '.mlpackage'
    packages = {'coremltools': 'coremltools'}
    in_extra, dynamic, input_types = False, (), ('float32',)
    half, half_graph = True, False
    selects = False  # coremltools 9.0 converts no such head
    trusted_only = True  # the compiler of its programs has not been tried with hostile files
    untested = 'Core ML: the conversion is tested, predictions are not, as there was no Mac to run them'

    def why_unchecked(self) -> str | None:
        return None if sys.platform == 'darwin' else 'Core ML predicts on macOS only'

    def convert(self, graph: ExportGraph, example: tuple[Tensor, ...], plan: Plan) -> Any:
        """Return the ``coremltools.models.MLModel``."""
        import coremltools
        import numpy as np

        program = TorchExportFormat().convert(graph, example, plan)
        types = [np.float32, np.int32]
        inputs = [
            coremltools.TensorType(name, shape=tuple(value.shape), dtype=kind)
            for name, value, kind in zip(graph.input_names, example, types, strict=False)
        ]
        precision = coremltools.precision.FLOAT16 if plan.half else coremltools.precision.FLOAT32
        disabled = logging.root.manager.disable
        try:
            logging.disable(logging.WARNING)
            with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter('ignore')
                module = program.run_decompositions({}).module()
                _simplify(module)
                return coremltools.convert(
                    torch.jit.trace(module, example, check_trace=False),
                    inputs=inputs,
                    outputs=[coremltools.TensorType(name) for name in graph.output_names],
                    minimum_deployment_target=coremltools.target.iOS16,
                    compute_precision=precision,
                    convert_to='mlprogram',
                )
        except Exception as error:  # of any kind: its frontend raises what it meets
            raise ConfigError(f'Core ML cannot convert this network: {first_line(error)}') from error
        finally:
            logging.disable(disabled)

    def write(self, network: Any, description: str, path: Path) -> None:
        network.user_defined_metadata[META_KEY] = description
        _remove(path)
        network.save(str(path))

    def read_description(self, path: Path) -> str | None:
        return dict(_spec(path).description.metadata.userDefined).get(META_KEY)

    def verify(self, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        outputs = _spec(path).description.output
        found = {output.name: tuple(output.type.multiArrayType.shape) for output in outputs}
        if found != dict(shapes):
            raise CheckpointError(f'Core ML declares the outputs {found}, where {dict(shapes)} are expected')

    def open(self, path: Path, device: torch.device, threads: int) -> CoreMlSession:
        require_cpu(device, self.title)
        reason = self.why_unchecked()
        if reason is not None:
            raise ConfigError(f'{path} cannot be run here, as {reason}')
        return CoreMlSession(path, output_names(self.read_description(path), path))

    def exists(self, path: Path) -> bool:
        return path.is_dir()

    def size(self, path: Path) -> int:
        return sum(file.stat().st_size for file in path.rglob('*') if file.is_file())

    def move(self, path: Path, target: Path) -> None:
        _remove(target)
        os.replace(path, target)


class CoreMlSession:
    """A package in Core ML, see ``Session``."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        import coremltools

        self._origin = (path, names)
        self.runtime = f'coremltools {version("coremltools")}'
        self._names = names
        try:
            self._model = coremltools.models.MLModel(str(path), compute_units=coremltools.ComputeUnit.CPU_ONLY)
        except Exception as error:  # of any kind for what is damaged
            raise CheckpointError(f'{self.runtime} cannot load {path}: {first_line(error)}') from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Let copies and other processes load the file again."""
        return type(self), self._origin

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arrays = {name: whole_array(value) for name, value in inputs.items()}
        arrays = {
            name: value.astype('int32' if value.dtype == 'int64' else value.dtype) for name, value in arrays.items()
        }
        try:
            found = self._model.predict(arrays)
        except Exception as error:
            raise CheckpointError(f'{self.runtime} cannot run the exported network: {first_line(error)}') from error
        return {name: torch.from_numpy(found[name]) for name in self._names if name in found}


def _remove(path: Path) -> None:
    """Remove a package, or a file in its place, where there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _spec(path: Path) -> Any:
    """Return what a package declares, without loading its network.

    Raises:
        CheckpointError: it is no package, or is damaged.
    """
    import coremltools

    try:
        return coremltools.utils.load_spec(str(path))
    except Exception as error:  # of any kind for what is damaged
        raise CheckpointError(f'{path} is no package of Core ML, or is damaged: {first_line(error)}') from error


def _simplify(module: fx.GraphModule) -> None:
    """Replace what coremltools converts wrongly by what it converts rightly, with the same results.

    Indices that are computed from ranges become constants, as coremltools divides whole numbers in floating point. A
    product with a vector becomes that with a matrix of one column, ``addcmul``, which it does not know, two operations.
    """
    _fold_ranges(module)
    graph = module.graph
    for node in list(graph.nodes):
        if node.target is _aten.alias.default:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
            continue
        if node.target is _aten.addcmul.default:
            added, *factors = node.args
            with graph.inserting_before(node):
                product = graph.call_function(_aten.mul.Tensor, tuple(factors))
                if node.kwargs.get('value', 1) != 1:
                    product = graph.call_function(_aten.mul.Tensor, (product, node.kwargs['value']))
                node.replace_all_uses_with(graph.call_function(_aten.add.Tensor, (added, product)))
            graph.erase_node(node)
            continue
        if node.target is not _aten.matmul.default or node.args[1].op != 'get_attr':
            continue
        if attrgetter(node.args[1].target)(module).dim() != 1:
            continue
        with graph.inserting_before(node):
            column = graph.call_function(_aten.unsqueeze.default, (node.args[1], 1))
            product = graph.call_function(_aten.matmul.default, (node.args[0], column))
            node.replace_all_uses_with(graph.call_function(_aten.squeeze.dim, (product, -1)))
        graph.erase_node(node)
    graph.eliminate_dead_code()
    module.recompile()


def _fold_ranges(module: fx.GraphModule) -> None:
    """Make constants of ranges and of all that is computed from them alone."""
    values: dict[fx.Node, Tensor] = {}
    for node in module.graph.nodes:
        is_range = node.target in _RANGES
        if node.op != 'call_function' or not (is_range or node.all_input_nodes):
            continue
        if all(source in values for source in node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
            result = node.target(*args, **kwargs)
            if isinstance(result, Tensor):
                values[node] = result
    for node, value in values.items():
        if any(user not in values for user in node.users):
            module.register_buffer(f'folded_{node.name}', value)
            with module.graph.inserting_before(node):
                node.replace_all_uses_with(module.graph.get_attr(f'folded_{node.name}'))
