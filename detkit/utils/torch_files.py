"""Files of ``torch.save``, which are zip archives: how they are opened, and what they may hold."""

from __future__ import annotations

import os
import struct
import zipfile
from typing import Any

import torch
from torch import Tensor

# The errors of reading a damaged or forged archive, beside BadZipFile. NotImplementedError, for kinds of compression
# that Python lacks, is a RuntimeError.
ZIP_ERRORS = (zipfile.BadZipFile, EOFError, IndexError, OSError, OverflowError, RuntimeError, ValueError, struct.error)
# The errors of ``torch.load`` for damaged and forged files, beside UnpicklingError.
LOADING_ERRORS = (*ZIP_ERRORS, AssertionError, AttributeError, KeyError, MemoryError, TypeError)


def is_plain_tensor(value: Any) -> bool:
    """Return whether a value is a dense tensor of real numbers in the memory of the CPU."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == 'cpu'
        and not value.is_quantized
        and not value.is_complex()
    )


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
            (programs differ in the one they take), or entries that overlap.
        OSError: the file cannot be opened.
    """
    open(path, 'rb').close()
    try:
        archive = zipfile.ZipFile(path)
    except ZIP_ERRORS as error:
        raise zipfile.BadZipFile(str(error) or type(error).__name__) from error
    try:
        _check_entries(archive, os.path.getsize(path))
    except BaseException:
        archive.close()
        raise
    return archive


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
