"""``ExportFormat``: what a format of exported files does; one file in ``detkit.export.formats`` each."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor

from detkit.export.settings import DYNAMIC, INPUT_TYPES
from detkit.registry import EXPORT_FORMATS
from detkit.utils.errors import ConfigError, MissingPackageError, nearest

if TYPE_CHECKING:
    from detkit.export.graph import ExportGraph
    from detkit.export.plan import Plan
    from detkit.export.settings import ExportSettings

# The key of the description in every file.
META_KEY = 'detkit'


class Session(Protocol):
    """A network loaded by a runtime.

    Where its format says ``takes_amp``, it computes in bf16 inside PyTorch's autocast to bf16 on the CPU.

    Attributes:
        runtime: name and version of what runs it, for people.
    """

    runtime: str

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs by name, for inputs by name; all on the CPU, whole in memory."""
        ...


class ExportFormat:
    """Base of the formats.

    A child writes ``convert``, ``write``, ``read_description`` and ``open``, and registers in ``EXPORT_FORMATS`` under
    its name.

    Attributes:
        name: what the user writes, which is also the name of the runtime.
        title: the name of the runtime for people.
        suffix: that of its files.
        packages: what must be installed to open a file, by import name -> the name for pip.
        converters: what must be installed besides to write one.
        in_extra: whether the extra ``export`` has them.
        dynamic: what may differ from call to call, of ``DYNAMIC``.
        one_image: whether its files take one image at a time only.
        input_types: the types of images' values that it can hold, of ``INPUT_TYPES``, the default first.
        img_shapes: whether its files can take ``img_shapes``, without which no network of DETR, RetinaNet or FCOS is.
        selects: whether it can hold a selection of cells by their scores.
        ranks: whether it can compare scores with the best ones.
        half: whether it can hold half precision.
        half_graph: whether the graph itself computes in half precision, and not only its weights are stored so.
        int8: whether it can be quantised; then it has ``quantise``.
        nms: whether it can hold suppression.
        takes_amp: whether its sessions compute in mixed precision inside autocast.
        trusted_only: opening such a file may run code that is in it, so that the runtime must be named to open one.
        built_from: the name of the format whose file this one is built from. Where ``why_unbuilt`` has a reason against
            it, that file is the result, and ``build_command`` is printed.
        untested: what of the format has not been tried by its authors, for people.
        bbox_tolerance, score_tolerance: greatest differences from PyTorch, in pixels and as a score, that its float32
            files may have.
        half_tolerances, int8_tolerances: the same two in half precision, and of the mean differences in int8.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    suffix: ClassVar[str]
    packages: ClassVar[Mapping[str, str]] = {}
    converters: ClassVar[Mapping[str, str]] = {}
    in_extra: ClassVar[bool] = True
    dynamic: ClassVar[tuple[str, ...]] = DYNAMIC
    one_image: ClassVar[bool] = False
    input_types: ClassVar[tuple[str, ...]] = INPUT_TYPES
    img_shapes: ClassVar[bool] = True
    selects: ClassVar[bool] = True
    ranks: ClassVar[bool] = True
    half: ClassVar[bool] = False
    half_graph: ClassVar[bool] = True
    int8: ClassVar[bool] = False
    nms: ClassVar[bool] = False
    takes_amp: ClassVar[bool] = False
    trusted_only: ClassVar[bool] = False
    built_from: ClassVar[str] = ''
    untested: ClassVar[str] = ''
    bbox_tolerance: ClassVar[float] = 0.1
    score_tolerance: ClassVar[float] = 1e-3
    half_tolerances: ClassVar[tuple[float, float]] = (4.0, 0.03)
    int8_tolerances: ClassVar[tuple[float, float]] = (8.0, 0.1)

    def check_plan(self, settings: ExportSettings) -> None:
        """Raise ``ConfigError`` for settings that only this format refuses."""
        if settings.opset != type(settings)().opset:
            raise ConfigError(f"opset is the version of ONNX's operators, which {self.name} files do not have")

    def why_unbuilt(self) -> str | None:
        """Return why a file cannot be built here from that of ``built_from``; None where it can."""
        return None

    def why_unchecked(self) -> str | None:
        """Return why files cannot be run on this machine, and so not be compared with PyTorch; None where they can."""
        return None

    def build_command(self, source: Path, path: Path, plan: Plan) -> list[str]:
        """Return the words of the command that builds a file from that of ``built_from``."""
        raise NotImplementedError

    def verify(self, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Compare the outputs that a file declares with those of PyTorch, where ``why_unchecked`` has a reason.

        Args:
            path: the file.
            shapes: the outputs' shapes by name.

        Raises:
            CheckpointError: they differ.
        """

    def beside(self, path: Path, word: str) -> Path:
        """Return the name of a file beside another one, with a word before the suffix."""
        return path.with_name(f'{path.name[: -len(self.suffix)]}.{word}{self.suffix}')

    def require(self, to_write: bool = False) -> None:
        """Raise ``MissingPackageError`` for a missing package that opening or writing a file needs."""
        needed = {**self.packages, **(self.converters if to_write else {})}
        missing = [pip for module, pip in needed.items() if importlib.util.find_spec(module) is None]
        if missing:
            extra = 'pip install "detkit[export]", or ' if self.in_extra else ''
            raise MissingPackageError(
                f'{self.name} needs {" and ".join(missing)}: {extra}pip install {" ".join(missing)}'
            )

    @property
    def is_installed(self) -> bool:
        """Whether all packages that it needs to write files and to open them are there."""
        return all(importlib.util.find_spec(module) is not None for module in (*self.packages, *self.converters))

    def convert(self, graph: ExportGraph, example: tuple[Tensor, ...], plan: Plan) -> Any:
        """Return the network in the format's own form, in memory.

        Args:
            graph: the module, whose inputs and outputs have names.
            example: inputs, which the module has been run with.
            plan: what is exported.

        Raises:
            ConfigError: it cannot be converted.
        """
        raise NotImplementedError

    def quantise(self, network: Any, inputs: Sequence[dict[str, Any]]) -> Any:
        """Return what ``convert`` returned, in int8.

        Args:
            network: the network in float32.
            inputs: arrays by name, that it is calibrated with.

        Raises:
            ConfigError: it cannot be quantised.
        """
        raise NotImplementedError

    def tolerances(self, precision: str) -> tuple[float, float]:
        """Return the greatest differences of boxes in pixels and of scores that files of a precision may have."""
        known = {'half': self.half_tolerances, 'int8': self.int8_tolerances}
        return known.get(precision, (self.bbox_tolerance, self.score_tolerance))

    def write(self, network: Any, description: str, path: Path) -> None:
        """Write a file that holds what ``convert`` returned and the description, a text."""
        raise NotImplementedError

    def read_description(self, path: Path) -> str | None:
        """Return the description in a file, without running anything of it; None where there is none.

        Raises:
            CheckpointError: it is no file of this format, or is damaged.
        """
        raise NotImplementedError

    def open(self, path: Path, device: torch.device, threads: int) -> Session:
        """Load a file.

        Raises:
            CheckpointError: it cannot be loaded.
            ConfigError: it cannot be run on this device.
        """
        raise NotImplementedError

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return a file and those that belong to it, itself last."""
        return (path,)

    def exists(self, path: Path) -> bool:
        """Return whether there is such a file."""
        return path.is_file()

    def size(self, path: Path) -> int:
        """Return the bytes of a file and of what belongs to it."""
        return sum(file.stat().st_size for file in self.files(path))

    def move(self, path: Path, target: Path) -> None:
        """Rename a file, and what belongs to it; what is there is replaced."""
        for old, new in zip(self.files(path), self.files(target), strict=True):
            os.replace(old, new)


def all_formats() -> list[ExportFormat]:
    """Return every registered format."""
    return [EXPORT_FORMATS.get(name)() for name in EXPORT_FORMATS.names()]


def find_format(name: str) -> ExportFormat:
    """Return a format by name.

    Raises:
        ConfigError: there is none such.
    """
    found = EXPORT_FORMATS.get(name) if isinstance(name, str) else None
    if found is None:
        names = EXPORT_FORMATS.names()
        raise ConfigError(f'there is no format {name!r}; there are {", ".join(names)}.{nearest(name, names)}')
    return found()


def format_of(path: str | Path) -> ExportFormat | None:
    """Return the format of a file by its suffix; None where it is no exported file's."""
    name = Path(path).name.lower()
    fitting = [fmt for fmt in all_formats() if name.endswith(fmt.suffix)]
    return max(fitting, key=lambda fmt: len(fmt.suffix), default=None)


def require_cpu(device: torch.device, title: str) -> None:
    """Raise ``ConfigError`` where a runtime that runs on CPUs is to run elsewhere."""
    if device.type != 'cpu':
        raise ConfigError(f'{title} runs on the CPU here, not on {device}: give device cpu')


def whole_array(tensor: Tensor) -> Any:
    """Return a tensor as an array in row-major memory."""
    return tensor.detach().contiguous().cpu().numpy()
