"""OpenVINO's files: the network as ``.xml`` and its weights as ``.bin`` beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from detkit.export.format import META_KEY, ExportFormat, require_cpu, whole_array
from detkit.export.formats.onnx import OnnxFormat
from detkit.export.quantization import Node, float_nodes, is_matrix, quantised
from detkit.registry import EXPORT_FORMATS
from detkit.utils.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from detkit.export.graph import ExportGraph
    from detkit.export.plan import Plan
    from detkit.export.settings import ExportSettings

# The operations that may have weights.
_LAYERS = ('Convolution', 'GroupConvolution', 'ConvolutionBackpropData', 'GroupConvolutionBackpropData', 'MatMul')


@EXPORT_FORMATS.register_module(name='openvino')
class OpenVinoFormat(ExportFormat):
    """OpenVINO, converted from the ONNX graph; half precision is that of the weights in the file."""

    name, title, suffix = 'openvino', 'OpenVINO', '.xml'
    packages, converters = {'openvino': 'openvino'}, {'onnx': 'onnx'}
    half, half_graph, int8, nms = True, False, True, True

    def check_plan(self, settings: ExportSettings) -> None:
        OnnxFormat().check_plan(settings)

    def convert(self, graph: ExportGraph, example: tuple[Tensor, ...], plan: Plan) -> Any:
        """Return the ``openvino.Model``, and whether its weights are written in half precision."""
        import openvino

        network = OnnxFormat().convert(graph, example, plan)
        with TemporaryDirectory() as folder:
            path = Path(folder) / 'network.onnx'
            OnnxFormat().write(network, '', path)
            try:
                model = openvino.convert_model(str(path))
            except Exception as error:  # its errors have no common class of their own
                raise ConfigError(f'OpenVINO cannot convert this network: {_first_line(error)}') from error
        return model, plan.half

    def quantise(self, network: Any, inputs: Sequence[dict[str, Any]]) -> Any:
        model, half = network
        nodes = {node.get_friendly_name(): _node(node) for node in model.get_ordered_ops()}
        kept = float_nodes(nodes, [node.get_friendly_name() for node in model.get_results()])
        return quantised(model, inputs, kept), half

    def write(self, network: Any, description: str, path: Path) -> None:
        import openvino

        model, half = network
        model.set_rt_info(description, META_KEY)
        openvino.save_model(model, str(path), compress_to_fp16=half)

    def read_description(self, path: Path) -> str | None:
        model = _read(path)
        return str(model.get_rt_info(META_KEY).astype(str)) if model.has_rt_info(META_KEY) else None

    def open(self, path: Path, device: torch.device, threads: int) -> OpenVinoSession:
        require_cpu(device, self.title)
        return OpenVinoSession(path, threads)

    def files(self, path: Path) -> tuple[Path, ...]:
        return path.with_suffix('.bin'), path


class OpenVinoSession:
    """A file in OpenVINO, see ``Session``; it computes in float32, whatever the processor has besides."""

    def __init__(self, path: Path, threads: int) -> None:
        import openvino

        self._origin = (path, threads)
        self.runtime = f'openvino {openvino.__version__.split("-")[0]}'
        settings = {
            'INFERENCE_PRECISION_HINT': 'f32',
            'INFERENCE_NUM_THREADS': threads,
            'PERFORMANCE_HINT': 'LATENCY',
        }
        model = _read(path)
        try:
            self._compiled = openvino.Core().compile_model(model, 'CPU', settings)
        except RuntimeError as error:
            raise CheckpointError(f'{self.runtime} cannot load {path}: {_first_line(error)}') from error
        self._names = [_output_name(output.get_names()) for output in self._compiled.outputs]

    def __reduce__(self) -> tuple[Any, ...]:
        """Let copies and other processes load the file again."""
        return type(self), self._origin

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arrays = {name: whole_array(value) for name, value in inputs.items()}
        try:
            # A request of its own, so that several threads may call; results are copied, as its memory is used again.
            found = self._compiled.create_infer_request().infer(arrays)
        except RuntimeError as error:
            raise CheckpointError(f'{self.runtime} cannot run the exported network: {_first_line(error)}') from error
        return {name: torch.from_numpy(found[i].copy()) for i, name in enumerate(self._names)}


def _output_name(names: set[str]) -> str:
    """Return an output's name among those of its tensor: the others are those of nodes of the ONNX graph."""
    return min(names, key=lambda name: ('/' in name or ':' in name, name))


def _node(node: Any) -> Node:
    sources = [node.input_value(i).get_node() for i in range(node.get_input_size())]
    weights = [source for source in sources if source.get_type_name() == 'Constant']
    is_layer = node.get_type_name() in _LAYERS and any(is_matrix(list(source.shape)) for source in weights)
    inputs = tuple(source.get_friendly_name() for source in sources if source not in weights)
    return Node(inputs, is_layer, node.get_type_name() == 'TopK')


def _read(path: Path) -> Any:
    """Return the ``openvino.Model`` in a file.

    Raises:
        CheckpointError: it is no such file, or its weights are not beside it.
    """
    import openvino

    weights = path.with_suffix('.bin')
    if not weights.is_file():
        raise CheckpointError(f'{weights} is missing, which holds the weights of {path}: copy both files')
    try:
        return openvino.Core().read_model(str(path), str(weights))
    except RuntimeError as error:
        raise CheckpointError(f'{path} is no file of OpenVINO, or is damaged: {_first_line(error)}') from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and 'Exception from' not in line]
    return next((line for line in lines if 'Check' not in line), lines[0] if lines else type(error).__name__)
