"""``fetch``: weights by their name, as a file that a model starts from."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from mmengine.dist import is_main_process

from detkit import __version__
from detkit.config import configs_folder
from detkit.converters.common import Conversion
from detkit.converters.darknet import load_darknet
from detkit.converters.detr import load_detr
from detkit.converters.pickled_model import load_pickled
from detkit.converters.rfdetr import load_rfdetr
from detkit.converters.rtdetr import FAMILIES, load_family
from detkit.converters.torchvision import load_torchvision
from detkit.converters.ultralytics import read_ultralytics
from detkit.converters.yolov5 import read_yolov5
from detkit.converters.yolox import load_yolox
from detkit.engine.checkpoint import load_checkpoint
from detkit.registry import WEIGHTS_BY_NAME
from detkit.utils.download import FIRST_BYTE_SECONDS, DownloadError
from detkit.utils.errors import CheckpointError, DetkitError
from detkit.utils.files import locked
from detkit.zoo.cache import address_of, cached, discard_file, entry_folder, provide_file
from detkit.zoo.entries import Entry, find_entry, list_entries

__all__ = ['config_of_name', 'fetch', 'fetch_if_named', 'fetch_unasked', 'is_name']

# Seconds to wait for the server where the weights were not asked for.
_UNASKED_PATIENCE = 3.0
# Servers that could not be reached when weights were not asked for, with the reason: they are not tried again.
_unreachable: dict[str, str] = {}
# Entries whose licence this process has shown.
_shown: set[str] = set()

_LOADERS: dict[str, Callable[[Path, Entry], Conversion]] = {
    'ultralytics': lambda path, entry: load_pickled(path, configs_folder(), read_ultralytics),
    'yolov5': lambda path, entry: load_pickled(path, configs_folder(), read_yolov5),
    'darknet': lambda path, entry: load_darknet(path, configs_folder()),
    'yolox': lambda path, entry: load_yolox(path, configs_folder()),
    'detr': lambda path, entry: load_detr(path, configs_folder(), entry.size or None),
    'rfdetr': lambda path, entry: load_rfdetr(path, configs_folder()),
    'rtdetr': lambda path, entry: load_family(path, FAMILIES['rtdetr'], configs_folder()),
    'dfine': lambda path, entry: load_family(path, FAMILIES['dfine'], configs_folder()),
    'torchvision': lambda path, entry: load_torchvision(path, configs_folder()),
}


def fetch(name: str, file: str | os.PathLike | None = None, patience: float = FIRST_BYTE_SECONDS) -> Path:
    """Return the file of named weights, fetched, checked and converted on first use; print their licence.

    Processes that ask for the same weights at the same time wait for the first one.

    Args:
        name: an entry of ``list_entries``.
        file: the weights' file, fetched by other means, which is copied into the cache.
        patience: seconds to wait for the first byte.

    Returns:
        A checkpoint of detkit; of some backbones a file for ``model.backbone.weights``.

    Raises:
        ConfigError: there are no weights of that name.
        CheckpointError: they cannot be fetched, are not those expected, or cannot be converted.
    """
    entry = find_entry(name)
    folder = entry_folder(entry)
    _show(entry)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / '.lock'):
            return _provide(entry, None if file is None else Path(file), patience)
    except OSError as error:
        raise CheckpointError(
            f'the weights {name} cannot be kept in {folder} ({error.strerror or error}): set DETKIT_CACHE'
        ) from error


@WEIGHTS_BY_NAME.register_module()
def is_name(name: str) -> bool:
    """Return whether there are weights of that name."""
    entries = list_entries()
    return name in entries or name.removesuffix('.pt') in entries


@WEIGHTS_BY_NAME.register_module()
def config_of_name(text: str) -> str:
    """Return a hint at the config of published weights whose name, in any spelling, stands where a config is expected.

    'YOLOv8n' and 'yolov8n.yaml' are such spellings; the hint is '' for anything else.
    """
    plain = text.strip().lower().removesuffix('.yaml').removesuffix('.pt')
    entry = next((entry for entry in list_entries().values() if entry.name.lower() == plain and entry.config), None)
    if entry is None:
        return ''
    task, _, data = entry.config.partition('_')
    return f' {entry.name!r} names the published weights; {f"{task}_{entry.size}_{data}"!r} is that model without them.'


@WEIGHTS_BY_NAME.register_module()
def fetch_if_named(name: str) -> Path | None:
    """Return ``fetch(name)``; None where there are no weights of that name."""
    return fetch(name) if is_name(name) else None


@WEIGHTS_BY_NAME.register_module()
def fetch_unasked(name: str) -> tuple[Path | None, str]:
    """Return the file of weights that nobody has asked for, a config's default, and why it is not there.

    Weights whose licence asks for something are not taken. A server that does not answer is given up soon, and not
    tried again by this process.
    """
    entry = find_entry(name)
    if not entry.permissive:
        return None, f'the weights {name} have the licence {entry.licence} and are taken on request only'
    server = urlsplit(address_of(entry, entry.files[0])).netloc
    if cached(name) is None and server in _unreachable:
        return None, _unreachable[server]
    try:
        return fetch(name, patience=_UNASKED_PATIENCE), ''
    except DetkitError as error:
        cause = error.__cause__
        if not isinstance(cause, DownloadError):
            return None, f'the weights {name} cannot be used ({error})'
        reason = f'the weights {name} could not be fetched ({cause})'
        if server:
            _unreachable[server] = reason
        return None, reason


def _provide(entry: Entry, given: Path | None, patience: float) -> Path:
    was_there = cached(entry.name) is not None
    path, digest, first = provide_file(entry, entry.files[0], given, patience)
    for file in entry.files[1:]:
        beside = given.with_name(file.name) if given is not None else None
        provide_file(entry, file, beside if beside is not None and beside.is_file() else None, patience)
    if first and is_main_process():
        known = 'as published' if entry.files[0].sha256 else 'first seen, recorded beside it'
        origin = 'found at' if was_there or given is not None else 'fetched to'
        print(
            f'weights  {entry.name}: {origin} {path}, SHA-256 {digest[:16]}... ({known})', file=sys.stderr, flush=True
        )
    if entry.converter in ('detkit', 'none'):
        return path
    target = path.with_name(f'{entry.name}-{digest[:8]}-detkit-{__version__}.pth')
    if not _is_intact(target):
        try:
            conversion = _LOADERS[entry.converter](path, entry)
        except CheckpointError:
            if first and not was_there and given is None and entry.files[0].sha256 is None:
                discard_file(path)  # whatever the server sent, the next call asks again
            raise
        origin = {**conversion.origin, 'zoo': entry.name, 'url': entry.files[0].url, 'sha256': digest}
        origin['licence'] = origin.get('licence') or entry.licence
        replace(conversion, origin=origin).save(target)
    return target


def _is_intact(path: Path) -> bool:
    """Return whether a converted file is there and can be read."""
    try:
        return path.is_file() and bool(load_checkpoint(path, mmap=True))
    except CheckpointError:
        return False


def _show(entry: Entry) -> None:
    if entry.name not in _shown and is_main_process():
        _shown.add(entry.name)
        print(entry.licence_line(), file=sys.stderr, flush=True)
