"""The packages of AOTInductor: a network compiled to a shared library, which PyTorch runs without compiling."""

from __future__ import annotations

import json
import platform
import re
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from detkit.engine.compilation import find_compiler
from detkit.export.format import META_KEY, ExportFormat, require_cpu
from detkit.export.formats.torch_export import TorchExportFormat
from detkit.export.formats.torchscript import TorchSession
from detkit.export.stored import add_text, output_names, stored_text
from detkit.registry import EXPORT_FORMATS
from detkit.utils.errors import CheckpointError, ConfigError, first_line, shorten
from detkit.utils.processors import processor_features

if TYPE_CHECKING:
    from detkit.export.graph import ExportGraph
    from detkit.export.plan import Plan
    from detkit.export.settings import ExportSettings

_ENTRY = f'extra/{META_KEY}.json'
_FEATURES_ENTRY = f'extra/{META_KEY}_processor.json'
# The features of x86 processors that a compiler makes use of by itself.
_COMPILED_FOR = re.compile(r'(avx|sse|ssse|fma|bmi|amx).*|abm|f16c|gfni|movbe|popcnt|pni|tbm|xop')


@EXPORT_FORMATS.register_module(name='aotinductor')
class AotInductorFormat(ExportFormat):
    """AOTInductor. A file holds machine code for this kind of processor and version of PyTorch: it needs trust."""

    name, title, suffix = 'aotinductor', 'AOTInductor', '.aoti.pt2'
    trusted_only, dynamic = True, ()

    def check_plan(self, settings: ExportSettings) -> None:
        super().check_plan(settings)
        if not find_compiler():
            raise ConfigError('aotinductor files are compiled by a C++ compiler, and there is none: install g++')

    def convert(self, graph: ExportGraph, example: tuple[Tensor, ...], plan: Plan) -> bytes:
        """Return the content of the package."""
        program = TorchExportFormat().convert(graph, example, plan)
        with TemporaryDirectory() as folder:
            path = Path(folder) / 'network.pt2'
            try:
                with torch.no_grad():
                    torch._inductor.aoti_compile_and_package(program, package_path=str(path))
            except Exception as error:  # of any kind: of the compiler, of lowering
                reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
                raise ConfigError(f'AOTInductor cannot compile this network: {reason}') from error
            return path.read_bytes()

    def write(self, network: bytes, description: str, path: Path) -> None:
        path.write_bytes(network)
        with zipfile.ZipFile(path, 'a') as archive:
            root = archive.namelist()[0].split('/')[0]
            add_text(archive, f'{root}/{_ENTRY}', description)
            add_text(archive, f'{root}/{_FEATURES_ENTRY}', json.dumps(sorted(_features())))

    def read_description(self, path: Path) -> str | None:
        return stored_text(path, f'/{_ENTRY}')

    def open(self, path: Path, device: torch.device, threads: int) -> TorchSession:
        require_cpu(device, self.title)
        _check_processor(path)
        try:
            module = torch._inductor.aoti_load_package(str(path))
        except Exception as error:  # of any kind for what is damaged
            raise CheckpointError(f'{path} cannot be loaded: {first_line(error)}') from error
        names = output_names(self.read_description(path), path)
        return TorchSession(module, names, device, f'aotinductor {torch.__version__}')


def _features() -> set[str]:
    """Return the features of this processor that compiled code may need."""
    is_x86 = platform.machine() in ('x86_64', 'AMD64')
    return {name for name in processor_features() if not is_x86 or _COMPILED_FOR.fullmatch(name)}


def _check_processor(path: Path) -> None:
    """Raise ``CheckpointError`` for a file whose instructions would end this process, as the processor has them not."""
    try:
        needed = set(json.loads(stored_text(path, f'/{_FEATURES_ENTRY}') or '[]'))
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f'{path} is damaged: what it says of its processor is no list: {error}') from error
    missing = sorted(map(str, needed - processor_features())) if processor_features() else []
    if missing:
        raise CheckpointError(
            f'{path} was compiled for a processor with {shorten(missing)}, which this one has not: export the '
            'checkpoint on this machine'
        )
