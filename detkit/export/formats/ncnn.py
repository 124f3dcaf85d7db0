"""The files of ncnn, for phones and small boards: the layers as ``.ncnn.param``, their weights as ``.ncnn.bin``."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from detkit.export.format import ExportFormat, require_cpu, whole_array
from detkit.export.formats.torchscript import TorchScriptFormat
from detkit.export.stored import archived, archived_text, output_names
from detkit.registry import EXPORT_FORMATS
from detkit.utils.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from detkit.export.graph import ExportGraph
    from detkit.export.plan import Plan


class NcnnNetwork(NamedTuple):
    """The contents of a network's two files."""

    layers: bytes
    weights: bytes


@EXPORT_FORMATS.register_module(name='ncnn')
class NcnnFormat(ExportFormat):
    """ncnn, converted by pnnx from TorchScript, for one image of fixed size.

    Half precision is that of the weights in the file. The description is an archive behind the weights.
    """

    name, title, suffix = 'ncnn', 'ncnn', '.ncnn.param'
    packages, converters = {'ncnn': 'ncnn'}, {'pnnx': 'pnnx'}
    in_extra, dynamic, one_image, input_types, img_shapes = False, (), True, ('float32',), False
    selects = ranks = False  # it has no layers for torch.topk and torch.gather
    half, half_graph = True, False
    trusted_only = True  # its reader is not made for hostile files

    def convert(self, graph: ExportGraph, example: tuple[Tensor, ...], plan: Plan) -> NcnnNetwork:
        """Return the contents of the files."""
        import pnnx

        graph.use_plain_deconvs()  # as ncnn has four axes, and the others need six
        traced = TorchScriptFormat().convert(graph, example, plan)
        shape = ','.join(str(side) for side in example[0].shape)
        with TemporaryDirectory() as folder:
            # PyTorch ends the process where it cannot write to a path.
            Path(folder, 'network.pt').write_bytes(traced.save_to_buffer())
            command = [pnnx.EXEC_PATH, 'network.pt', f'inputshape=[{shape}]f32', f'fp16={int(plan.half)}']
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors='replace', check=False)
            files = [Path(folder, f'network.ncnn.{kind}') for kind in ('param', 'bin')]
            if done.returncode or not all(file.is_file() for file in files):
                raise ConfigError(f'pnnx cannot convert this network: {_reason(done.stderr)}')
            network = NcnnNetwork(*(file.read_bytes() for file in files))
        unknown = _unknown_layers(network.layers)
        if unknown:
            raise ConfigError(f'ncnn has no layer for {" and ".join(unknown)}, which this network needs')
        return network

    def write(self, network: NcnnNetwork, description: str, path: Path) -> None:
        path.write_bytes(network.layers)
        _weights(path).write_bytes(network.weights + archived(description))

    def read_description(self, path: Path) -> str | None:
        if not _weights(path).is_file():
            raise CheckpointError(f'{_weights(path)} is missing, which holds the weights of {path}: copy both files')
        return archived_text(_weights(path))

    def open(self, path: Path, device: torch.device, threads: int) -> NcnnSession:
        require_cpu(device, self.title)
        return NcnnSession(path, threads, output_names(self.read_description(path), path))

    def files(self, path: Path) -> tuple[Path, ...]:
        return _weights(path), path


class NcnnSession:
    """A file in ncnn, see ``Session``; it computes in float32."""

    def __init__(self, path: Path, threads: int, names: tuple[str, ...]) -> None:
        import ncnn

        self._origin = (path, threads, names)
        self.runtime = f'ncnn {version("ncnn")}'
        self._names = names
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = threads
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        if self._net.load_param(str(path)) or self._net.load_model(str(_weights(path))):
            raise CheckpointError(f'{self.runtime} cannot load {path}: the file is damaged')
        lost = [name for name, blob in _outputs(names) if blob not in self._net.output_names()]
        if lost or list(self._net.input_names()) != ['in0']:
            raise CheckpointError(f'{path} has no output {lost[0]!r}' if lost else f'{path} has other inputs')

    def __reduce__(self) -> tuple[Any, ...]:
        """Let copies and other processes load the file again."""
        return type(self), self._origin

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        import ncnn

        (image,) = whole_array(inputs['images'])  # (1, 3, H, W) -> (3, H, W)
        found = {}
        with self._net.create_extractor() as extractor:
            # A copy, whose memory is aligned as ncnn needs it.
            extractor.input('in0', ncnn.Mat(image).clone())
            for name, blob in _outputs(self._names):
                status, value = extractor.extract(blob)
                if status:
                    raise CheckpointError(f'{self.runtime} cannot run the exported network: {name} cannot be computed')
                found[name] = torch.from_numpy(np.array(value)).unsqueeze(0)
        return found


def _outputs(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return each output's name, and the one that pnnx gives it."""
    return [(name, f'out{i}') for i, name in enumerate(names)]


def _weights(path: Path) -> Path:
    return path.with_name(f'{path.name[: -len("param")]}bin')


def _unknown_layers(layers: bytes) -> list[str]:
    """Return the operations of PyTorch that pnnx left as they are; those of ncnn have no dot in their names."""
    kinds = [line.split()[0] for line in layers.decode('utf-8', errors='replace').splitlines()[2:] if line.split()]
    return sorted({kind for kind in kinds if '.' in kind or '::' in kind})


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if 'what():' in line or 'not supported' in line]
    return lines[0] if lines else 'it stopped without a reason'
