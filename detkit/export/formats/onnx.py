"""ONNX files, run by ONNX Runtime."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from detkit.export.format import META_KEY, ExportFormat, require_cpu, whole_array
from detkit.export.quantization import Node, float_nodes, is_matrix, quantised
from detkit.registry import EXPORT_FORMATS
from detkit.utils.errors import CheckpointError, ConfigError, first_line
from detkit.utils.usage_data import import_silently

if TYPE_CHECKING:
    from detkit.export.graph import ExportGraph
    from detkit.export.plan import Plan
    from detkit.export.settings import ExportSettings

# The operators that the exporter knows, and that are enough for detectors.
OPSETS = range(16, 21)
# The operators that may have weights.
_LAYERS = ('Conv', 'ConvTranspose', 'Gemm', 'MatMul')
_MOST_BYTES = 2**31 - 1  # of a protobuf message


@EXPORT_FORMATS.register_module(name='onnx')
class OnnxFormat(ExportFormat):
    """ONNX, for ONNX Runtime and for what reads its files; weights lie in the file itself."""

    name, title, suffix = 'onnx', 'ONNX Runtime', '.onnx'
    packages = {'onnx': 'onnx', 'onnxruntime': 'onnxruntime'}
    half, int8, nms = True, True, True

    def check_plan(self, settings: ExportSettings) -> None:
        if settings.opset not in OPSETS:
            raise ConfigError(f'opset is {settings.opset}, but must be from {OPSETS[0]} to {OPSETS[-1]}')

    def convert(self, graph: ExportGraph, example: tuple[Tensor, ...], plan: Plan) -> Any:
        """Return the model as ``onnx.ModelProto``."""
        import onnx

        if plan.int8:
            graph.use_plain_deconvs()  # as NNCF takes no bias that is computed
        content = io.BytesIO()
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter(
                    'ignore'
                )  # on shapes that become constants, as they may, and on the exporter's age
                torch.onnx.export(
                    graph,
                    example,
                    content,
                    input_names=list(graph.input_names),
                    output_names=list(graph.output_names),
                    opset_version=plan.opset,
                    dynamic_axes=dynamic_axes(graph, plan),
                    dynamo=False,
                )
        except (RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f'this network cannot be exported to ONNX: {first_line(error)}') from error
        model = onnx.load_from_string(content.getvalue())
        model.producer_name = 'detkit'
        return model

    def quantise(self, network: Any, inputs: Sequence[dict[str, Any]]) -> Any:
        nodes, results = _named_nodes(network)
        return quantised(network, inputs, float_nodes(nodes, results))

    def write(self, network: Any, description: str, path: Path) -> None:
        import onnx

        onnx.helper.set_model_props(network, {META_KEY: description})
        path.write_bytes(network.SerializeToString())

    def read_description(self, path: Path) -> str | None:
        return next((prop.value for prop in _read(path).metadata_props if prop.key == META_KEY), None)

    def open(self, path: Path, device: torch.device, threads: int) -> OnnxSession:
        require_cpu(device, self.title)
        _read(path)
        return OnnxSession(path, threads)


class OnnxSession:
    """A file in ONNX Runtime, see ``Session``."""

    def __init__(self, path: Path, threads: int) -> None:
        onnxruntime = import_silently('onnxruntime')

        onnxruntime.disable_telemetry_events()  # where something else had imported it
        self._origin = (path, threads)
        self.runtime = f'onnxruntime {onnxruntime.__version__}'
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # it says what it raises, too
        try:
            # The content rather than the path: then no other file is looked for.
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=['CPUExecutionProvider'])
        except Exception as error:  # its errors have no common class of their own
            raise CheckpointError(f'{self.runtime} cannot load {path}: {first_line(error)}') from error
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __reduce__(self) -> tuple[Any, ...]:
        """Let copies and other processes load the file again."""
        return type(self), self._origin

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arrays = {name: whole_array(value) for name, value in inputs.items()}
        try:
            found = self._session.run(self._outputs, arrays)
        except Exception as error:
            raise CheckpointError(f'{self.runtime} cannot run the exported network: {first_line(error)}') from error
        return {name: torch.from_numpy(value) for name, value in zip(self._outputs, found, strict=True)}


def dynamic_axes(graph: ExportGraph, plan: Plan) -> dict[str, dict[int, str]]:
    """Return the axes of inputs and outputs that may differ from call to call, with their names."""
    axes: dict[str, dict[int, str]] = {}
    if 'batch' in plan.dynamic:
        axes = {name: {0: 'batch'} for name in (*graph.input_names, *graph.output_names)}
    if 'size' in plan.dynamic:
        axes.setdefault('images', {}).update({2: 'height', 3: 'width'})
        for name in () if plan.suppression else graph.output_names:
            axes.setdefault(name, {})[1] = f'{name}_rows'
        for name in ('mask_protos', 'mask_logits'):
            if name in graph.output_names:
                axes[name] = {**{k: v for k, v in axes.get(name, {}).items() if k == 0}, 2: 'mask_h', 3: 'mask_w'}
    return axes


def _named_nodes(model: Any) -> tuple[dict[str, Node], list[str]]:
    """Return the operations of a model by name, and the names of those that give its outputs."""
    weights = {tensor.name for tensor in model.graph.initializer if is_matrix(tensor.dims)}
    makers = {output: node.name for node in model.graph.node for output in node.output}
    nodes = {
        node.name: Node(
            tuple(makers[name] for name in node.input if name in makers),
            node.op_type in _LAYERS and any(name in weights for name in node.input),
            node.op_type == 'TopK',
        )
        for node in model.graph.node
    }
    return nodes, [makers[output.name] for output in model.graph.output]


def _read(path: Path) -> Any:
    """Return a file as ``onnx.ModelProto``, which names no other file.

    Raises:
        CheckpointError: it is no ONNX file, or keeps weights in other files, which could be any on this machine.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if path.stat().st_size > _MOST_BYTES:
        raise CheckpointError(f'{path} is no ONNX file: those have at most 2 GB')
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f'{path} is no ONNX file, or is damaged: {first_line(error)}') from error
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise CheckpointError(
                f'{path} keeps the tensor {tensor.name[:80]!r} in another file; detkit reads files that hold all of '
                'their weights, as detkit export writes them'
            )
    return model


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor of a model: of its graphs, of their nodes at any depth, and of its functions."""
    graphs, nodes = [model.graph], [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
        while nodes:
            for attribute in nodes.pop().attribute:
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
                graphs += [attribute.g] if attribute.HasField('g') else []
                graphs += attribute.graphs
