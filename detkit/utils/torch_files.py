"""Files of ``torch.save``, which are zip archives: how they are opened, and what they may hold."""

from __future__ import annotations

import os
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor
from torch.nn import Parameter

from detkit.utils.files import ZIP_ERRORS
from detkit.utils.pickles import check_pickle

# The errors of ``torch.load`` for damaged and forged files, beside UnpicklingError.
LOADING_ERRORS = (*ZIP_ERRORS, AssertionError, AttributeError, KeyError, MemoryError, TypeError)

# What PyTorch before 1.6 wrote begins with so many: a number, a version, sizes of types, the content, and its storages.
_NUM_PICKLES = 5

# A zip archive begins with these bytes and ends with these records (mark, ..., position of the directory, length of a
# comment); those of large archives come first.
_FIRST = b'PK\3\4'
_END, _LOCATOR, _END_64 = (struct.Struct(text) for text in ('<4sHHHHIIH', '<4sIQI', '<4sQHHIIQQQQ'))


def load_plain(path: str | Path, mmap: bool = False) -> Any:
    """Return what a file of ``torch.save`` holds, on the CPU; plain types and tensors alone are read.

    The content of a file decides how it is read: by a path that ends with ``.safetensors``, PyTorch would call that
    package, whose errors are its own.

    Args:
        path: the file.
        mmap: read tensors only when they are used.

    Raises:
        pickle.UnpicklingError: it holds something else.
        Exception: one of ``LOADING_ERRORS``.
    """
    path = Path(path)
    _check_pickles(path)
    with warnings.catch_warnings():
        # It guesses at why a file may be refused, which the error says.
        warnings.filterwarnings('ignore', 'Detected pickle protocol', UserWarning)
        if mmap and path.suffix != '.safetensors':
            return _without_attributes(torch.load(path, map_location='cpu', weights_only=True, mmap=True))
        with path.open('rb') as file:
            return _without_attributes(torch.load(file, map_location='cpu', weights_only=True))


def _check_pickles(path: Path) -> None:
    """Check the pickles of a file, see ``check_pickle``; those in an archive, or the ones before the tensors."""
    if is_zip(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith('/data.pkl'):
                    data = archive.read(name)
                    check_pickle(data, len(data))
        return
    with path.open('rb') as file:
        for _ in range(_NUM_PICKLES):
            check_pickle(file, path.stat().st_size)


def _without_attributes(content: Any) -> Any:
    """Return what a file holds, from which attributes of its containers and tensors are removed.

    PyTorch gives an ``OrderedDict`` and a tensor what attributes a file has for them, in place of methods, too.
    """
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        if not isinstance(value, dict | list | tuple | set | Tensor) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, OrderedDict | Tensor):
            vars(value).clear()
        if not isinstance(value, Tensor):
            waiting += value.values() if isinstance(value, dict) else value
    return content


def is_plain_tensor(value: Any) -> bool:
    """Return whether a value is a dense tensor of real numbers in the memory of the CPU, each stored on its own.

    A few bytes may be seen as a tensor of any size (``expand``), which a copy of it would then need.
    """
    return (
        type(value) in (Tensor, Parameter)
        and value.layout == torch.strided
        and value.device.type == 'cpu'
        and not value.is_quantized
        and not value.is_complex()
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def num_stored(tensors: Iterable[Tensor]) -> int:
    """Return how many numbers some plain tensors hold; what several of them share counts once."""
    storages = [(tensor.untyped_storage(), tensor.element_size()) for tensor in tensors]
    return sum({storage.data_ptr(): storage.nbytes() // size for storage, size in storages}.values())


def has_finite_sum(tensor: Tensor) -> bool:
    """Return whether the sum of a tensor is finite, and so are all of its numbers; they need no look at each, then.

    PyTorch adds no numbers of 8 bits.
    """
    return tensor.element_size() > 1 and bool(tensor.sum().isfinite())


def is_zip(path: str | os.PathLike) -> bool:
    """Return whether a regular file has a zip archive's end."""
    try:
        return os.path.isfile(path) and zipfile.is_zipfile(path)
    except ZIP_ERRORS:  # it has an end that makes no sense, which opening it will say
        return True


def open_stored(path: str | os.PathLike) -> zipfile.ZipFile:
    """Open an archive whose entries are stored as they are: what it holds is no larger than the file.

    Raises:
        zipfile.BadZipFile: it is damaged, or has an entry that is compressed, encrypted, without a name, or there twice
            (programs differ in the one they take), or entries that overlap, or other data in front of or behind the
            archive (in which programs differ, too).
        OSError: the file cannot be opened.
    """
    open(path, 'rb').close()
    try:
        archive = zipfile.ZipFile(path)
    except ZIP_ERRORS as error:
        raise zipfile.BadZipFile(str(error) or type(error).__name__) from error
    try:
        with open(path, 'rb') as file:
            _check_directory(file, archive.start_dir)
        _check_entries(archive, os.path.getsize(path))
    except BaseException:
        archive.close()
        raise
    return archive


def _check_directory(file: BinaryIO, position: int) -> None:
    """Check that an archive is the whole file, and has its directory where its end says.

    Python looks for the directory right before the end, PyTorch where the end says: a file with two of them shows
    each another content. And PyTorch takes a file that begins otherwise for no archive at all.

    Args:
        file: the file.
        position: where Python found the directory.
    """
    if file.read(4) != _FIRST:
        raise zipfile.BadZipFile('something lies before the archive')
    length = file.seek(0, os.SEEK_END)
    start = max(length - _END.size - _LOCATOR.size - _END_64.size, 0)
    file.seek(start)
    tail = file.read()
    mark, *_, stated, comment = _END.unpack_from(tail, len(tail) - _END.size)
    if mark != b'PK\5\6' or comment:
        raise zipfile.BadZipFile('something lies behind the archive')
    if len(tail) == _END_64.size + _LOCATOR.size + _END.size:
        mark, _, end_64, _ = _LOCATOR.unpack_from(tail, _END_64.size)
        if mark == b'PK\6\7':  # the end of an archive that may be larger than 4 GB stands before the other one
            mark_64, *_, stated = _END_64.unpack_from(tail)
            if end_64 != start or mark_64 != b'PK\6\6':
                raise zipfile.BadZipFile('its end is not where it says')
    if stated != position:
        raise zipfile.BadZipFile('its directory is not where its end says')


def _check_entries(archive: zipfile.ZipFile, size: int) -> None:
    names = set()
    for entry in archive.infolist():
        name = entry.filename
        if not name:
            raise zipfile.BadZipFile('an entry has no name')
        if name in names:
            raise zipfile.BadZipFile(f'the entry {name[:80]!r} is there twice')
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise zipfile.BadZipFile(f'the entry {name[:80]!r} is compressed')
        if entry.flag_bits & 1:
            raise zipfile.BadZipFile(f'the entry {name[:80]!r} is encrypted')
        names.add(name)
        size -= entry.file_size
    if size < 0:
        raise zipfile.BadZipFile('its entries are larger than the file')
