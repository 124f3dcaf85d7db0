"""Checkpoint files: plain types and tensors, written completely or not at all, read without running code."""

import math
import pickle
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detkit import __version__
from detkit.config import literal_text
from detkit.engine.checkpoint_content import FORMAT, FORMAT_VERSION, check_content
from detkit.registry import WEIGHTS_BY_NAME
from detkit.utils.errors import (
    CheckpointError,
    ComponentError,
    absence,
    first_line,
    refuse_long_name,
    shorten,
    working_folder,
)
from detkit.utils.file_kinds import KINDS, kind_of
from detkit.utils.files import replacing, save_error
from detkit.utils.torch_files import LOADING_ERRORS, has_finite_sum, is_zip, load_plain, open_stored

# The checkpoints of a run's folder that stand for it, the first that is there.
OF_A_RUN = ('best.pth', 'last.pth')
_PLAIN = (str, int, float, bool, type(None), torch.Size, torch.dtype)


def describe_model(
    config: Mapping[str, Any] | None, config_file: str, classes: Sequence[str], task: str | None, keypoints: dict
) -> dict[str, Any]:
    """Return the ``meta`` from which a checkpoint's model can be rebuilt without a dataset.

    Args:
        config: the resolved config; None for weights that are no whole model.
        config_file: the config file that it came from.
        classes: the class names, by label.
        task: the config's.
        keypoints: names, sigmas, skeleton and flip pairs of the data's keypoints; empty without keypoints.
    """
    return {
        'format': FORMAT,
        'format_version': FORMAT_VERSION,
        'detkit_version': __version__,
        'config': literal_text(config) if config else None,
        'config_file': config_file,
        'classes': list(classes),
        'task': task,
        'keypoints': keypoints,
    }


def licence_of(meta: Mapping[str, Any]) -> str:
    """Return the licence of a checkpoint's weights, or of those that they were trained from; empty where unknown."""
    for key in ('converted_from', 'started_from'):
        origin = meta.get(key)
        licence = origin.get('licence') if isinstance(origin, Mapping) else None
        if isinstance(licence, str) and licence:
            return licence
    return ''


def refuse_extra_state(model: nn.Module) -> None:
    """Raise ``ComponentError`` for a model with state that is no tensor, which checkpoints and averages do not hold."""
    for name, module in model.named_modules():
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            text = (
                f'{type(module).__name__} ({name or "the model"}) has get_extra_state(), but a checkpoint holds tensors'
            )
            raise ComponentError(f'{text} alone: register what it returns as buffers', type(module).__name__)


def check_plain(value: Any, where: str = 'checkpoint') -> None:
    """Raise ``TypeError`` with the key of anything that ``torch.load(weights_only=True)`` would refuse."""
    if isinstance(value, dict):
        for key, item in value.items():
            check_plain(item, f'{where}[{key!r}]')
    elif isinstance(value, list | tuple):
        # A generator's state is hundreds of ints, whose types are compared at once to save time.
        if not all(type(item) in (int, float, str) for item in value):
            for i, item in enumerate(value):
                check_plain(item, f'{where}[{i}]')
    elif type(value) is not torch.Tensor and type(value) not in _PLAIN:
        raise TypeError(f'{where} is a {type(value).__name__}; a checkpoint holds plain types and tensors only')


def save_checkpoint(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Write ``checkpoint`` so that ``path`` is at every moment either the old file or the complete new one.

    Raises:
        TypeError: something in it is neither a plain type nor a tensor.
        SaveError: the disk is full, read-only or gone; the old file is as it was.
    """
    check_plain(checkpoint)
    try:
        with replacing(path, sync=True) as file:
            torch.save(checkpoint, file)
    except (OSError, RuntimeError) as error:
        # PyTorch raises an error of its own while it closes its archive after that of the disk.
        reason = error if isinstance(error, OSError) else error.__context__
        if not isinstance(reason, OSError):
            raise
        raise save_error(path, reason, _num_bytes(checkpoint)) from error


def copy_checkpoint(source: Path, path: Path) -> None:
    """Write another file of a checkpoint that has just been written, in a fraction of the time.

    Raises:
        SaveError: as ``save_checkpoint``.
    """
    num_bytes = 0
    try:
        num_bytes = source.stat().st_size
        with source.open('rb') as original, replacing(path, sync=True) as file:
            shutil.copyfileobj(original, file, 1 << 20)
    except OSError as error:
        raise save_error(path, error, num_bytes) from error


def _num_bytes(value: Any) -> int:
    """Return the size of a checkpoint's tensors, without those that occur twice."""
    sizes: dict[int, int] = {}

    def visit(item: Any) -> None:
        if isinstance(item, Tensor):
            sizes[item.untyped_storage().data_ptr()] = item.untyped_storage().nbytes()
        for child in item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else ():
            visit(child)

    visit(value)
    return sum(sizes.values())


def find_checkpoint(path: str | Path) -> Path:
    """Return the file that is meant.

    Of a run's folder that is its best checkpoint, or the last one; for the name of published weights it is their file,
    which is fetched if need be; any other path is returned as it is.

    Raises:
        CheckpointError: published weights cannot be fetched, or the path is too long for the system.
    """
    path = Path(path)
    refuse_long_name(path, CheckpointError)
    if path.exists() or len(path.parts) != 1:
        return next((path / name for name in OF_A_RUN if (path / name).is_file()), path)
    return WEIGHTS_BY_NAME.get('fetch_if_named')(path.name) or path


def load_checkpoint(path: str | Path, mmap: bool = False) -> dict[str, Any]:
    """Read a detkit checkpoint onto the CPU. Nothing that the file names is imported or run.

    Args:
        path: the file, a run's folder, or the name of published weights (``detkit.zoo``).
        mmap: read tensors only when they are used, for reading ``meta`` alone.

    Raises:
        CheckpointError: the file is missing, truncated, larger inside than outside, or not detkit's.
    """
    path = find_checkpoint(path)
    if not path.is_file():
        where = f'is a folder without {" or ".join(OF_A_RUN)}' if path.is_dir() else absence(path)
        raise CheckpointError(
            f'Checkpoint {path} {where}{working_folder(path)}; give the path of a .pth file such as '
            'work_dirs/<run>/best.pth, or a name that `detkit zoo list` shows.'
        )
    if not is_zip(path):
        kind = kind_of(str(path))
        if kind not in (None, 'weights'):
            raise CheckpointError(
                f'{path} is {KINDS[kind]}, where a checkpoint is expected. The config comes first, then the '
                'checkpoint, then the images.'
            )
        raise CheckpointError(
            f'Checkpoint {path} is truncated or is no checkpoint at all '
            f'({path.stat().st_size} bytes). Take another one, such as best.pth of the same folder, '
            'or copy the file again.'
        )
    try:
        with open_stored(path) as archive:
            damaged = None if mmap else archive.testzip()  # PyTorch does not verify the checksums it writes
        if damaged is not None:
            raise zipfile.BadZipFile(f'{damaged} has a wrong checksum')
        checkpoint = load_plain(path, mmap)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f'Checkpoint {path} is foreign: it holds more than tensors and plain types, and is not '
            'loaded, because that could run code. Weights of other projects must be converted to '
            'detkit first.'
        ) from error
    except LOADING_ERRORS as error:
        reason = first_line(error)
        raise CheckpointError(
            f'Checkpoint {path} cannot be read ({reason}). It is damaged: take another one, such as '
            'best.pth of the same folder.'
        ) from error
    check_content(checkpoint, path)
    return checkpoint


def check_weights(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Check that model and checkpoint have the same tensors, of the same shapes, whose values are numbers.

    Args:
        model: the model.
        weights: the checkpoint's, by name.
        source: the checkpoint's name in the error.

    Raises:
        CheckpointError: lists the tensors that do not fit, or that hold NaN.
    """
    problems = misfits(model, weights)
    if problems:
        raise CheckpointError(
            f"checkpoint {source} does not fit the config's model: {problems}. Use the "
            f'config it was trained with, which lies beside it in its run folder.'
        )
    refuse_nan(weights, source)


def misfits(model: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """Return which tensors of a checkpoint and of a model differ in name or shape, in words; empty where none does."""
    target = model.state_dict()
    missing = [name for name in target if name not in weights]
    unused = [name for name in weights if name not in target]
    other = [name for name in target if name in weights and weights[name].shape != target[name].shape]
    kinds = (missing, 'are missing from it'), (unused, 'are not in the model'), (other, 'have another shape')
    return '; '.join(f'{len(names)} tensors {what} ({shorten(names)})' for names, what in kinds if names)


def refuse_nan(weights: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that hold NaN, with which a network finds nothing and says nothing.

    Infinite values may be meant, as in a mask of attention.

    Args:
        weights: a checkpoint's, by name.
        source: its name in the error.

    Raises:
        CheckpointError: names the tensors.
    """
    names = [
        name
        for name, tensor in weights.items()
        if tensor.is_floating_point() and not has_finite_sum(tensor) and bool(tensor.isnan().any())
    ]
    if names:
        raise CheckpointError(
            f'checkpoint {source} holds values that are not a number (NaN) in {len(names)} of its {len(weights)} '
            f'tensors ({shorten(names)}), so that its network finds nothing. The training that wrote it has '
            'diverged, or it was damaged: take another one, or train again with a smaller learning rate.'
        )


def meta_of_run(folder: str | Path) -> dict[str, Any]:
    """Return the meta data of the first intact checkpoint in a run's folder; empty where there is none."""
    for path in sorted(Path(folder).glob('*.pth')):
        try:
            return load_checkpoint(path, mmap=True)['meta']
        except CheckpointError:
            continue
    return {}


def progress_of(checkpoint: Mapping[str, Any]) -> tuple[int, int]:
    """Return the epochs that a checkpoint has been trained for, and the iterations of the next one.

    Iterations of the whole run would not do: those of an epoch change with the batch size, also where a run is resumed.
    Weights alone may not say their epoch, which counts as 0 then.
    """
    loop = checkpoint.get('loop')
    numbers = checkpoint['meta'].get('epoch'), loop.get('batch') if isinstance(loop, dict) else 0
    epoch, batch = (number if type(number) is int else 0 for number in numbers)
    return epoch, batch


@dataclass(frozen=True)
class Resumable:
    """The checkpoints of a run folder that a run can go on from.

    Attributes:
        checkpoint: the intact one that is furthest in training; None when there is none.
        path: its file.
        damaged: a sentence on each file that cannot be read, by path.
        weights: files that hold weights only.
    """

    checkpoint: dict[str, Any] | None
    path: Path | None
    damaged: dict[Path, str]
    weights: list[Path]


def stated_epoch(path: Path) -> float:
    """Return the epochs that a checkpoint's name states, as of ``epoch_7.pth``; infinity for any other name."""
    name, _, number = path.stem.rpartition('_')
    return int(number) if name == 'epoch' and number.isdecimal() else math.inf


def find_resumable(folder: str | Path) -> Resumable:
    """Find the checkpoint of ``folder`` that is furthest in training, among those that are intact.

    Reading one takes a good part of a second. The likely one is read as a whole from the first, others to see how far
    they are, and those whose names state earlier epochs than that not at all.
    """
    damaged: dict[Path, str] = {}
    weights, read = [], set()
    whole: dict[Path, dict[str, Any]] = {}
    progress = {path: (stated_epoch(path), 0, False) for path in Path(folder).glob('*.pth')}
    while progress:
        path = max(progress, key=lambda path: (progress[path], path))
        if path in whole:
            return Resumable(whole[path], path, damaged, weights)
        is_whole = path in read or not read
        try:
            checkpoint = load_checkpoint(path, mmap=not is_whole)
        except CheckpointError as error:
            damaged[path] = str(error)
            del progress[path]
            continue
        read.add(path)
        if 'loop' not in checkpoint:
            weights.append(path)
            del progress[path]
            continue
        progress[path] = (*progress_of(checkpoint), path.name == 'last.pth')
        if is_whole:
            whole = {path: checkpoint}
    return Resumable(None, None, damaged, sorted(weights))
