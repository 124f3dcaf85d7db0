"""OpenVINO's files: the network as ``.xml`` and its weights as ``.bin`` beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import torch
from torch import Tensor

from detkit.export.format import META_KEY, ExportFormat, require_cpu, whole_array
from detkit.export.formats.onnx import OnnxFormat
from detkit.export.quantization import Node, float_nodes, is_matrix, quantised
from detkit.models.layers.precision import autocast_type
from detkit.registry import EXPORT_FORMATS
from detkit.utils.errors import CheckpointError, ConfigError
from detkit.utils.usage_data import import_silently, without_usage_data

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
    takes_amp = True

    def check_plan(self, settings: ExportSettings) -> None:
        OnnxFormat().check_plan(settings)

    def convert(self, graph: ExportGraph, example: tuple[Tensor, ...], plan: Plan) -> Any:
        """Return the ``openvino.Model``, and whether its weights are written in half precision."""
        openvino = import_silently('openvino')

        network = OnnxFormat().convert(graph, example, plan)
        with TemporaryDirectory() as folder:
            path = Path(folder) / 'network.onnx'
            OnnxFormat().write(network, '', path)
            try:
                with without_usage_data():
                    model = openvino.convert_model(str(path))
            except Exception as error:  # its errors have no common class of their own
                raise ConfigError(f'OpenVINO cannot convert this network: {_first_line(error)}') from error
        return model, plan.half

    def quantise(self, network: Any, inputs: Sequence[dict[str, Any]]) -> Any:
        model, half = network
        return quantised(model, inputs, [*_float_nodes(model, _nodes(model)), *_padded_means(model)]), half

    def write(self, network: Any, description: str, path: Path) -> None:
        openvino = import_silently('openvino')

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
    """A file in OpenVINO, see ``Session``; outside autocast it computes in float32, whatever the processor has besides.

    Inside, convolutions and matrix products compute in bf16, save the last ones, with which boxes and scores are
    decoded. The network is read when it is opened, and compiled for a precision when it is first run in it.
    """

    def __init__(self, path: Path, threads: int) -> None:
        openvino = import_silently('openvino')

        self._origin = (path, threads)
        self.runtime = f'openvino {openvino.__version__.split("-")[0]}'
        self._compiled: dict[str, Any] = {}
        self._lock = Lock()
        _read(path)  # or say at once what is wrong with it

    def __reduce__(self) -> tuple[Any, ...]:
        """Let copies and other processes load the file again."""
        return type(self), self._origin

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arrays = {name: whole_array(value) for name, value in inputs.items()}
        network = self._network()
        try:
            # A request of its own, so that several threads may call; results are copied, as its memory is used again.
            found = network.create_infer_request().infer(arrays)
        except RuntimeError as error:
            raise CheckpointError(f'{self.runtime} cannot run the exported network: {_first_line(error)}') from error
        return {_output_name(output.get_names()): torch.from_numpy(found[output].copy()) for output in network.outputs}

    def _network(self) -> Any:
        """Return the network compiled for the precision of autocast."""
        precision = 'bf16' if autocast_type('cpu') == torch.bfloat16 else 'f32'
        with self._lock:
            if precision not in self._compiled:
                self._compiled[precision] = self._compile(precision)
            return self._compiled[precision]

    def _compile(self, precision: str) -> Any:
        openvino = import_silently('openvino')

        path, threads = self._origin
        settings = {
            'INFERENCE_PRECISION_HINT': precision,
            'INFERENCE_NUM_THREADS': threads,
            'PERFORMANCE_HINT': 'LATENCY',
        }
        model = _read(path) if precision == 'f32' else _read_for_amp(path)
        try:
            return openvino.Core().compile_model(model, 'CPU', settings)
        except RuntimeError as error:
            raise CheckpointError(f'{self.runtime} cannot load {path}: {_first_line(error)}') from error


def _output_name(names: set[str]) -> str:
    """Return an output's name among those of its tensor: the others are those of nodes of the ONNX graph."""
    return min(names, key=lambda name: ('/' in name or ':' in name, name))


def _float_nodes(model: Any, nodes: dict[str, Node]) -> list[str]:
    """Return the names of the operations that stay in float, see ``float_nodes``."""
    return float_nodes(nodes, [node.get_friendly_name() for node in model.get_results()])


def _padded_means(model: Any) -> list[str]:
    """Return the names of average poolings whose padding counts, which stay in float in int8.

    In 8 bits OpenVINO 2026.4 pads with the integer 0, which stands for 0 only where no value is negative. Means at the
    borders are wrong otherwise, half of a map of 8 x 8 cells.
    """
    found = []
    for node in model.get_ordered_ops():
        if node.get_type_name() == 'AvgPool':
            options = node.get_attributes()
            if not options['exclude-pad'] and any((*options['pads_begin'], *options['pads_end'])):
                found.append(node.get_friendly_name())
    return found


def _nodes(model: Any) -> dict[str, Node]:
    """Return the operations of an ``openvino.Model`` by name, save those that compute constants."""
    nodes: dict[str, Node] = {}
    constants: set[str] = set()  # weights are, or are computed from them where the file stores half precision or int8
    for node in model.get_ordered_ops():
        name, kind = node.get_friendly_name(), node.get_type_name()
        sources = [node.input_value(i).get_node() for i in range(node.get_input_size())]
        inputs = tuple(source.get_friendly_name() for source in sources if source.get_friendly_name() not in constants)
        weights = [source for source in sources if source.get_friendly_name() in constants]
        if kind == 'Constant' or (sources and not inputs):
            constants.add(name)
            continue
        is_layer = kind in _LAYERS and any(is_matrix(list(source.shape)) for source in weights)
        nodes[name] = Node(inputs, is_layer, kind == 'TopK')
    return nodes


def _read_for_amp(path: Path) -> Any:
    """Return the ``openvino.Model`` in a file, of which only convolutions and matrix products may compute in bf16.

    So it is in PyTorch's autocast. The last layers do not, see ``float_nodes``. What does not is marked by an attribute
    of the file's format, which its interface in Python cannot set. Errors as of ``_read``.
    """
    model = _read(path)
    nodes = _nodes(model)
    kept = set(_float_nodes(model, nodes))
    tree = ElementTree.parse(path)
    for layer in tree.iterfind('layers/layer'):
        name, kind = layer.get('name'), layer.get('type')
        if name in nodes and (kind not in _LAYERS or name in kept) and kind not in ('Parameter', 'Result'):
            marks = layer.find('rt_info')
            if marks is None:
                marks = ElementTree.Element('rt_info')
                layer.insert(1 if layer.find('data') is not None else 0, marks)
            ElementTree.SubElement(marks, 'attribute', name='precise', version='0')
    with TemporaryDirectory() as folder:
        marked = Path(folder) / 'network.xml'
        tree.write(marked)
        return _read(marked, path.with_suffix('.bin'))


def _read(path: Path, weights: Path | None = None) -> Any:
    """Return the ``openvino.Model`` in a file, and its weights in another, by default the one beside it.

    Raises:
        CheckpointError: it is no such file, or its weights are not beside it.
    """
    openvino = import_silently('openvino')

    weights = weights or path.with_suffix('.bin')
    if not weights.is_file():
        raise CheckpointError(f'{weights} is missing, which holds the weights of {path}: copy both files')
    try:
        return openvino.Core().read_model(str(path), str(weights))
    except RuntimeError as error:
        raise CheckpointError(f'{path} is no file of OpenVINO, or is damaged: {_first_line(error)}') from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and 'Exception from' not in line]
    return next((line for line in lines if 'Check' not in line), lines[0] if lines else type(error).__name__)
