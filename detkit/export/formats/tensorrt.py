"""TensorRT's engines, built from the ONNX file beside them by ``trtexec`` or by the package ``tensorrt``."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from detkit.export.format import ExportFormat
from detkit.export.formats.onnx import OnnxFormat
from detkit.export.stored import output_names
from detkit.registry import EXPORT_FORMATS
from detkit.utils.errors import CheckpointError, ConfigError, DataError
from detkit.utils.json_files import parse_json

if TYPE_CHECKING:
    from detkit.export.graph import ExportGraph
    from detkit.export.plan import Plan
    from detkit.export.settings import ExportSettings


@dataclass
class TensorRtNetwork:
    """A network as ONNX, and its engine once it has been built."""

    model: Any
    plan: Plan
    engine: bytes | None = None


@EXPORT_FORMATS.register_module(name='tensorrt')
class TensorRtFormat(ExportFormat):
    """TensorRT. An engine fits one kind of GPU and one version; the ONNX file beside it describes it."""

    name, title, suffix = 'tensorrt', 'TensorRT', '.engine'
    packages, converters = {'tensorrt': 'tensorrt'}, {'onnx': 'onnx', 'onnxruntime': 'onnxruntime'}
    in_extra = False
    half, half_graph = True, False
    trusted_only = True  # an engine may hold code of plugins
    built_from = 'onnx'
    untested = 'TensorRT: written for TensorRT 10, and not tested, as there was no GPU; the ONNX file is checked'

    def check_plan(self, settings: ExportSettings) -> None:
        OnnxFormat().check_plan(settings)

    def require(self, to_write: bool = False) -> None:
        if to_write:
            OnnxFormat().require(to_write=True)  # trtexec may build, too
        else:
            super().require()

    def why_unbuilt(self) -> str | None:
        if not shutil.which('trtexec') and importlib.util.find_spec('tensorrt') is None:
            return 'there is neither trtexec nor the package tensorrt'
        return None if torch.cuda.is_available() else 'there is no GPU to build an engine for'

    def why_unchecked(self) -> str | None:
        if importlib.util.find_spec('tensorrt') is None:
            return 'the package tensorrt is not installed'
        return None if torch.cuda.is_available() else 'there is no GPU'

    def build_command(self, source: Path, path: Path, plan: Plan) -> list[str]:
        words = ['trtexec', f'--onnx={source}', f'--saveEngine={path}']
        if plan.dynamic:
            for word, shapes in zip(('min', 'opt', 'max'), zip(*input_shapes(plan).values(), strict=True), strict=True):
                named = zip(input_shapes(plan), shapes, strict=True)
                texts = (f'{name}:{"x".join(str(side) for side in shape)}' for name, shape in named)
                words.append(f'--{word}Shapes={",".join(texts)}')
        return words + ['--fp16'] * plan.half

    def convert(self, graph: ExportGraph, example: tuple[Tensor, ...], plan: Plan) -> TensorRtNetwork:
        """Return the network as ONNX."""
        return TensorRtNetwork(OnnxFormat().convert(graph, example, plan), plan)

    def write(self, network: TensorRtNetwork, description: str, path: Path) -> None:
        source = path.with_suffix('.onnx')
        OnnxFormat().write(network.model, _as_format(description, 'onnx'), source)
        if network.engine is None:
            network.engine = self._built(source, path, network.plan)
        path.write_bytes(network.engine)

    def _built(self, source: Path, path: Path, plan: Plan) -> bytes:
        """Return the content of the engine of an ONNX file."""
        if not shutil.which('trtexec'):
            return _built_by_package(source, plan)
        command = self.build_command(source, path, plan)
        done = subprocess.run(command, capture_output=True, text=True, errors='replace', check=False)
        if done.returncode or not path.is_file():
            lines = [line for line in done.stdout.splitlines() + done.stderr.splitlines() if '[E]' in line]
            raise ConfigError(f'trtexec cannot build this network: {lines[0] if lines else "it gives no reason"}')
        return path.read_bytes()

    def read_description(self, path: Path) -> str | None:
        source = path.with_suffix('.onnx')
        if not source.is_file():
            raise CheckpointError(f'{source} is missing, which describes {path}: copy both files')
        text = OnnxFormat().read_description(source)
        return None if text is None else _as_format(text, self.name)

    def open(self, path: Path, device: torch.device, threads: int) -> TensorRtSession:
        reason = self.why_unchecked()
        if reason is not None:
            raise ConfigError(f'{path} cannot be run here, as {reason}')
        return TensorRtSession(path, output_names(self.read_description(path), path))

    def files(self, path: Path) -> tuple[Path, ...]:
        return path.with_suffix('.onnx'), path


class TensorRtSession:
    """An engine in TensorRT on the current GPU, see ``Session``."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        import tensorrt

        self._origin = (path, names)
        self.runtime = f'tensorrt {tensorrt.__version__}'
        self._names = names
        self._logger = tensorrt.Logger(tensorrt.Logger.ERROR)
        self._engine = tensorrt.Runtime(self._logger).deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise CheckpointError(f'{self.runtime} cannot load {path}: it is damaged, or of another GPU or version')
        self._types = {
            tensorrt.float32: torch.float32,
            tensorrt.float16: torch.float16,
            tensorrt.int32: torch.int32,
            tensorrt.int64: torch.int64,
            tensorrt.uint8: torch.uint8,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """Let copies and other processes load the file again."""
        return type(self), self._origin

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        context, stream = self._engine.create_execution_context(), torch.cuda.Stream()
        given = {name: value.contiguous().cuda() for name, value in inputs.items()}
        for name, value in given.items():
            if not context.set_input_shape(name, tuple(value.shape)):
                raise ConfigError(f'{name} is {tuple(value.shape)}, which lies outside the shapes of the engine')
            context.set_tensor_address(name, value.data_ptr())
        found = {}
        for name in self._names:
            kind = self._types[self._engine.get_tensor_dtype(name)]
            found[name] = torch.empty(tuple(context.get_tensor_shape(name)), dtype=kind, device='cuda')
            context.set_tensor_address(name, found[name].data_ptr())
        torch.cuda.current_stream().synchronize()  # which copies the inputs
        if not context.execute_async_v3(stream.cuda_stream):
            raise CheckpointError(f'{self.runtime} cannot run the exported network')
        stream.synchronize()
        return {name: value.cpu() for name, value in found.items()}


def input_shapes(plan: Plan) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Return the smallest, the usual and the largest shape of each input of an engine.

    A dynamic batch starts at one image, and a dynamic size reaches from half the sides to twice them.
    """
    batches = (1, plan.batch_size, plan.batch_size) if 'batch' in plan.dynamic else (plan.batch_size,) * 3
    sizes = [plan.size] * 3
    if 'size' in plan.dynamic:
        half = tuple(max(-(-side // 2 // plan.divisor) * plan.divisor, 32) for side in plan.size)
        sizes = [half, plan.size, tuple(2 * side for side in plan.size)]
    shapes = {'images': tuple((batch, 3, *size) for batch, size in zip(batches, sizes, strict=True))}
    if plan.needs_img_shapes:
        shapes['img_shapes'] = tuple((batch, 2) for batch in batches)
    return shapes


def _built_by_package(source: Path, plan: Plan) -> bytes:
    import tensorrt

    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(source.read_bytes()):
        raise ConfigError(f'TensorRT cannot read this network: {parser.get_error(0).desc()}')
    config = builder.create_builder_config()
    if plan.dynamic:
        profile = builder.create_optimization_profile()
        for name, shapes in input_shapes(plan).items():
            profile.set_shape(name, *shapes)
        config.add_optimization_profile(profile)
    if plan.half:
        config.set_flag(tensorrt.BuilderFlag.FP16)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ConfigError('TensorRT cannot build this network; its reasons are printed above')
    return bytes(engine)


def _as_format(text: str, name: str) -> str:
    """Return a description that names another format; unchanged where it is damaged, which its reader says."""
    try:
        values = parse_json(text, 'the description')
    except DataError:
        return text
    return json.dumps({**values, 'format': name}) if isinstance(values, dict) else text
