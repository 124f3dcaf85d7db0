"""What converting from any project ends in: a checkpoint that holds its config, and advice on how to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from detkit import __version__
from detkit.config import literal_text
from detkit.config.top_level import datasets_in
from detkit.engine.checkpoint import FORMAT, FORMAT_VERSION, save_checkpoint
from detkit.utils.errors import CheckpointError

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def check_paths(source: Path, target: Path) -> None:
    """Refuses to write over the file that is read.

    Raises:
        CheckpointError: they are the same file.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise CheckpointError(f'{target} is the file to be converted; give another name for the result.')


def set_classes(config: dict[str, Any], classes: Sequence[str]) -> None:
    """Puts other class names into a resolved config: its list, its model's head, and its datasets."""
    config['classes'] = tuple(classes)
    config['model']['head']['num_classes'] = len(classes)
    for loader in _LOADERS:
        for dataset in datasets_in(config.get(loader)):
            if 'classes' in (dataset.get('metainfo') or {}):
                dataset['metainfo']['classes'] = tuple(classes)


def save_converted(
    target: Path,
    state: dict[str, Tensor],
    config: dict[str, Any] | None,
    config_file: str,
    converted_from: dict[str, Any],
    keypoints: dict[str, Any] | None = None,
) -> None:
    """Writes a checkpoint as training writes one; its folder is made where it is missing.

    Args:
        target: the file.
        state: tensors under detkit's names.
        config: resolved, with ``classes`` and ``task``; None of weights that are no whole model.
        config_file: the config it came from, such as ``'configs/yolov8/det_coco.py'``.
        converted_from: where the weights are from: ``file``, ``project``, and what else is known.
        keypoints: what the file says of its keypoints.
    """
    meta = {
        'format': FORMAT,
        'format_version': FORMAT_VERSION,
        'detkit_version': __version__,
        'config': literal_text(config) if config else None,
        'config_file': config_file,
        'classes': list(config['classes']) if config else [],
        'task': config['task'] if config else None,
        'keypoints': keypoints or {},
        'converted_from': converted_from,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint({'meta': meta, 'state_dict': state}, target)


def shown_options(options: Mapping[str, Any]) -> str:
    """Return `` --cfg-options key=value ...`` as a shell takes it; empty where there are none."""
    words = []
    for key, value in options.items():
        word = f'{key}={value}' if isinstance(value, str) else f'{key}={value!r}'.replace(' ', '')
        words.append(f'"{word}"' if set(word) & set('([{') else word)
    return f' --cfg-options {" ".join(words)}' if words else ''


def shown_path(path: Path) -> str:
    """As seen from the working directory, where it is inside."""
    path = path.resolve()
    return (path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path).as_posix()


def shown_classes(names: Sequence[str], count: int = 3) -> str:
    """How many there are, and the first few."""
    noun = 'class' if len(names) == 1 else 'classes'
    return f'{len(names)} {noun} ({", ".join(names[:count])}{", ..." if len(names) > count else ""})'
