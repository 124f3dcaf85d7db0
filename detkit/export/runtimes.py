"""Checkpoints run by another runtime than PyTorch: the network is exported once, checked, kept and opened again."""

from __future__ import annotations

import hashlib
import json
import marshal
import math
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from inspect import isfunction
from pathlib import Path

import torch
from torch import nn

from detkit import __version__
from detkit.config import literal_text
from detkit.engine.environment import cpu_name
from detkit.export.detector import ExportedDetector
from detkit.export.exporting import ExportError, export_detector
from detkit.export.format import ExportFormat, all_formats, find_format
from detkit.export.opening import open_exported
from detkit.export.settings import DYNAMIC, ExportSettings
from detkit.inference.steps import input_size
from detkit.models.layers.precision import autocast_type
from detkit.registry import EXPORTED_MODELS, is_own, package_of
from detkit.utils.cache import cache_folder
from detkit.utils.download import file_sha256
from detkit.utils.errors import CheckpointError, ConfigError, MissingPackageError
from detkit.utils.files import draft_folder, write_text
from detkit.utils.printable import printable
from detkit.utils.processors import processor_features

# Turns of a measurement, after as many that are not counted.
_WARM_UP, _ROUNDS = 2, 7
# The file that says what a kept folder holds.
_RECORD = 'weights'
# The code that decides what a network is exported to: files that another state of it left are made again.
_CODE = ('models', 'export')
# Folders of networks that cannot be kept otherwise, by the model's digest and the versions; they go with the process.
_elsewhere: dict[tuple[str, str], tempfile.TemporaryDirectory] = {}
# Another runtime must take less than this share of PyTorch's time.
_WORTH = 0.95


@dataclass(frozen=True)
class _Choice:
    """The runtime that was chosen on a machine.

    Attributes:
        runtime: its name, ``'torch'`` or that of a format.
        milliseconds: what an image took by each runtime; empty where no other than PyTorch runs the network.
        left_out: why others were not measured, by name.
    """

    runtime: str
    milliseconds: dict[str, float]
    left_out: dict[str, str]

    def line(self) -> str:
        """Return a line for people."""
        order = sorted(self.milliseconds, key=self.milliseconds.get)
        taken = ', '.join(f'{name} {self.milliseconds[name]:.1f} ms' for name in order)
        left_out = [f'{name} left out: {" ".join(reason.split())}' for name, reason in self.left_out.items()]
        why = f'as an image takes {taken}'
        if not taken:
            why = 'as no other runtime that is installed can run this network'
        return printable('; '.join([f'runtime {self.runtime}, {why}', *left_out]))


@EXPORTED_MODELS.register_module()
def run_by_runtime(
    model: nn.Module, runtime: str, folder: str | Path | None = None, log: Callable[[str], None] = print
) -> nn.Module:
    """Return a detector that a runtime runs, with the results of the given one.

    The network is exported for images of any number and size, checked against PyTorch on drawn pictures, and kept in
    the cache folder by its weights, config and code and the versions of what runs it; the next call opens it. Where the
    folder cannot be written, it is exported anew.

    Args:
        model: a detector as ``init_detector`` returns it, on the CPU.
        runtime: the name of a format, or ``'auto'`` for the fastest that is installed and passes the check; it is
            measured once for each machine and number of threads, and PyTorch may be the fastest. Inside autocast all
            are measured in its precision, and runtimes that have it not are left out.
        folder: where networks are kept; by default ``runtimes`` in the folder that ``DETKIT_CACHE`` names.
        log: called with a line for people on what was chosen, and on a folder that cannot be written.

    Raises:
        ConfigError: there is no such runtime; or it cannot run this network, or not on its device.
        MissingPackageError: a package that the runtime needs is not installed.
        ExportError: the network gives other results in that runtime.
    """
    if runtime != 'auto':
        fmt = find_format(runtime)
    device = model.data_preprocessor.device
    if device.type != 'cpu':
        if runtime == 'auto':
            return model  # on accelerators PyTorch is the only one that detkit measures
        raise ConfigError(f'runtime {runtime} of a checkpoint runs on the CPU, not on {device}: give device cpu')
    kept = _Kept(model, cache_folder() / 'runtimes' if folder is None else Path(folder), log)
    if runtime == 'auto':
        return _fastest(model, kept, log)
    return kept.open(fmt)


def suitable_formats(model: nn.Module) -> list[ExportFormat]:
    """Return the installed formats whose files are safe to open and take images and precision as prediction has them.

    The precision is that of autocast.
    """
    needed = _dynamic(model)
    return [
        fmt
        for fmt in all_formats()
        if fmt.is_installed
        and not fmt.trusted_only
        and all(name in fmt.dynamic for name in needed)
        and (fmt.takes_amp or autocast_type('cpu') is None)
    ]


def _dynamic(model: nn.Module) -> tuple[str, ...]:
    """Return what differs from call to call in prediction, of ``DYNAMIC``."""
    return ('batch',) if model.classifies else DYNAMIC


def _fastest(model: nn.Module, kept: _Kept, log: Callable[[str], None]) -> nn.Module:
    record = kept.folder / f'{_machine()}.json'
    candidates = suitable_formats(model)
    known = _read_choice(record, {fmt.name for fmt in candidates})
    if known is None and record.exists():
        log(printable(f'{record} is damaged, or of other runtimes: they are measured again'))
    if known is not None and known.runtime == 'torch':
        log(known.line())
        return model
    opened, left_out, is_final = {}, {}, True
    if known is not None:  # the others are opened only where it cannot be
        candidates.sort(key=lambda fmt: fmt.name != known.runtime)
    for fmt in candidates:
        try:
            opened[fmt.name] = kept.open(fmt)
        except (ConfigError, ExportError, MissingPackageError) as error:  # it does not hold this network
            left_out[fmt.name] = str(error)
            is_final = is_final and not isinstance(error.__cause__, OSError)
        except OSError as error:  # such as a full disk, which the next call may not find
            left_out[fmt.name], is_final = str(error), False
        if known is not None and fmt.name == known.runtime and fmt.name in opened:
            log(known.line())
            return opened[known.runtime]
    taken = _measure({'torch': model, **opened}) if opened else {}
    best = _best(taken)
    choice = _Choice(best, taken, left_out)
    if is_final:
        kept.write(record, choice)
    log(choice.line())
    return model if best == 'torch' else opened[best]


def _best(milliseconds: dict[str, float]) -> str:
    """Return the runtime to take by the time of an image."""
    best = min(milliseconds, key=milliseconds.get, default='torch')
    return 'torch' if best != 'torch' and milliseconds[best] > _WORTH * milliseconds['torch'] else best


@torch.inference_mode()
def _measure(models: dict[str, nn.Module]) -> dict[str, float]:
    """Return the median milliseconds that each model takes for an image of noise, in turns."""
    first = models['torch']
    size = input_size(first.info.config, first.classifies)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (1, 3, size, size), dtype=torch.uint8, generator=generator)
    shapes = torch.tensor([[size, size]]) if first.needs_img_shapes else None
    taken: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(_WARM_UP + _ROUNDS):
        for name, model in models.items():
            began = time.perf_counter()
            model.decode(images, shapes)
            if turn >= _WARM_UP:
                taken[name].append((time.perf_counter() - began) * 1e3)
    return {name: statistics.median(values) for name, values in taken.items()}


class _Kept:
    """The networks of one model in the cache folder, a folder each.

    Args:
        model: the detector.
        root: the folder for those of all models.
        log: called with a line for people where something that was kept is made again, or cannot be kept.

    Attributes:
        folder: that of this model's, named by its weights and config.
    """

    def __init__(self, model: nn.Module, root: Path, log: Callable[[str], None]) -> None:
        self._model, self._log = model, log
        self._digest = _digest(model)
        self.folder = root / self._digest[:32]

    def open(self, fmt: ExportFormat) -> ExportedDetector:
        """Return the network in a format, which is exported where it is not there or not whole.

        Errors are those of ``run_by_runtime``.
        """
        fmt.require()
        if fmt.trusted_only:
            raise ConfigError(
                f'{fmt.name} files may run code when they are opened, so that none is kept for a checkpoint: export '
                f'one, and open it with runtime {fmt.name}'
            )
        place = self.folder / _versions(fmt)
        file = place / f'network{fmt.suffix}'
        if place.exists():
            try:
                return self._opened(file, fmt)
            except CheckpointError as error:
                self._log(printable(f'runtime {fmt.name}: {error}; it is exported again'))
                _remove(place)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with draft_folder(self.folder) as draft:
                whole = draft / place.name
                whole.mkdir()  # which others who share the cache may read, as the umask says; the draft is this user's
                self._export(whole, fmt)
                _move(whole, place)
            return self._opened(file, fmt)
        except (OSError, CheckpointError) as error:  # nothing can be kept there, or another process removed it
            return self._exported_elsewhere(fmt, error)

    def _exported_elsewhere(self, fmt: ExportFormat, reason: Exception) -> ExportedDetector:
        """Return the network of an export that is kept until this process ends, since copies of it open it again."""
        key = (self._digest, _versions(fmt))
        try:
            if key in _elsewhere:
                return self._opened(Path(_elsewhere[key].name) / f'network{fmt.suffix}', fmt)
            folder = tempfile.TemporaryDirectory(prefix='detkit-')
            opened = self._opened(self._export(Path(folder.name), fmt), fmt)
            _elsewhere[key] = folder
            if isinstance(reason, OSError):
                why = reason.strerror or reason
                self._log(f'runtime {fmt.name}: cannot be kept in {self.folder} ({why}), so that each start exports it')
            return opened
        except OSError as error:
            raise ConfigError(
                f'the network for runtime {fmt.name} can be kept neither in {self.folder} nor for this call: {error}'
            ) from error

    def write(self, record: Path, choice: _Choice) -> None:
        """Remember a choice; where nothing can be kept, the next call measures again."""
        with suppress(OSError):
            write_text(record, json.dumps(vars(choice), indent=1) + '\n')

    def _export(self, folder: Path, fmt: ExportFormat) -> Path:
        file = folder / f'network{fmt.suffix}'
        settings = ExportSettings(format=fmt.name, dynamic=_dynamic(self._model))
        export_detector(self._model, file, settings)
        write_text(folder / _RECORD, self._record(folder))
        return file

    def _record(self, folder: Path) -> str:
        """Return what a folder says about itself: the model's digest, and the SHA-256 of each of its files.

        Runtimes take a file whose weights were damaged as it is, and compute nonsense.
        """
        files = sorted(path for path in folder.rglob('*') if path.is_file() and path.name != _RECORD)
        lines = [f'{file_sha256(path)} {path.relative_to(folder).as_posix()}' for path in files]
        return '\n'.join([self._digest, *lines]) + '\n'

    def _opened(self, file: Path, fmt: ExportFormat) -> ExportedDetector:
        folder = file.parent
        try:
            written = (folder / _RECORD).read_text(encoding='utf-8', errors='replace')
            is_whole = written == self._record(folder)
        except OSError:
            is_whole = False
        if not is_whole:
            raise CheckpointError(f'{folder} is damaged, or of other weights')
        opened = open_exported(file, 'cpu', fmt.name, self._model.info.config)
        opened.of_checkpoint = True
        return opened


def _remove(place: Path) -> None:
    """Remove a folder, or what lies in its place; where that cannot be, moving another there says why."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        with suppress(OSError):
            place.unlink()


def _move(draft: Path, place: Path) -> None:
    """Move a whole folder to its place, unless another process was faster."""
    try:
        os.replace(draft, place)
    except OSError:
        if not place.is_dir():
            raise


def _digest(model: nn.Module) -> str:
    """Return a SHA-256 of a model's config, classes, weights and code."""
    found = hashlib.sha256(literal_text(model.info.config).encode('utf-8', 'surrogatepass'))
    for code in _code(model):
        found.update(code)
    found.update(repr((model.info.classes, model.info.keypoints)).encode('utf-8', 'surrogatepass'))
    for name, value in model.state_dict().items():
        found.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _code(model: nn.Module) -> Iterator[bytes]:
    """Yield the code of networks and exports here, and what is imported of other packages that have parts in the model.

    A class that lies in no file, as those of a notebook, is the code of its functions.
    """
    here = Path(__file__).parents[1]
    classes = {cls for module in model.modules() for cls in type(module).__mro__}
    parts = [*classes, *(part for module in model.modules() for part in vars(module).values())]
    packages = {package_of(part) for part in parts if is_own(part)} - set(sys.stdlib_module_names)
    names = sorted(name for name in sys.modules if name.partition('.')[0] in packages)
    files = {name: Path(file) for name in names if (file := getattr(sys.modules[name], '__file__', None))}
    for file in (*sorted(file for name in _CODE for file in (here / name).rglob('*.py')), *files.values()):
        if file.is_file():
            yield file.read_bytes()
    for cls in sorted((cls for cls in classes if is_own(cls) and cls.__module__ not in files), key=repr):
        yield from (marshal.dumps(value.__code__) for value in vars(cls).values() if isfunction(value))


def _versions(fmt: ExportFormat) -> str:
    """Return the name of a format's folder: the versions of all that makes and runs its files."""
    packages = ['torch', *fmt.packages.values(), *fmt.converters.values()]
    return '-'.join([fmt.name, f'detkit{__version__}', *(f'{name}{_version(name)}' for name in packages)])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # installed under another name
        return ''


def _machine() -> str:
    """Return the name of a record: processor, threads, precision, and the versions that the times depend on."""
    versions = [_versions(fmt) for fmt in all_formats() if fmt.is_installed]
    dtype = autocast_type('cpu')
    precision = () if dtype is None else (str(dtype),)
    # Virtual machines call different processors by the same name.
    processor = (cpu_name(), platform.machine(), sorted(processor_features()))
    text = repr((*processor, torch.get_num_threads(), __version__, versions, *precision))
    return f'choice-{hashlib.sha256(text.encode()).hexdigest()[:16]}'


def _read_choice(record: Path, candidates: set[str]) -> _Choice | None:
    """Return what was chosen on this machine; None where nothing was, or it cannot be believed.

    Args:
        record: the file.
        candidates: the names of the runtimes that could be chosen, each of which a record has measured or left out.
    """
    try:
        values = json.loads(record.read_text(encoding='utf-8'))
        choice = _Choice(str(values['runtime']), dict(values['milliseconds']), dict(values['left_out']))
        times = choice.milliseconds
        is_complete = candidates == (times.keys() - {'torch'}) | choice.left_out.keys()
        if not is_complete or not all(0 < time < math.inf for time in times.values()) or choice.runtime != _best(times):
            return None
        choice.line()
        return choice
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
