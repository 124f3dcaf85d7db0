"""Reading text files of other programs, whatever they put in front of the text."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import TextIO

from detkit.utils.errors import DataError

# The longer mark first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF32_LE, 'utf-32'),
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)


def read_text(path: str | os.PathLike, what: str = 'file') -> str:
    """Return the text of a file in UTF-8, with or without a byte-order mark, or in UTF-16 or UTF-32 with one.

    Args:
        path: the file.
        what: a noun for the file in errors, such as 'image list'.

    Raises:
        DataError: the file cannot be read, or is no such text.
    """
    return decode_text(read_bytes(path, what), path, what)


def open_text(path: str | os.PathLike, what: str = 'file') -> TextIO:
    """Open a text file that is too large to be read at once, in any encoding that ``read_text`` knows.

    Lines end as they do in the file (``newline=''``). Reading raises ``UnicodeDecodeError`` where it is no such text.

    Raises:
        DataError: it is missing, no regular file, or cannot be read.
    """
    _check_regular(path, what)
    try:
        with open(path, 'rb') as file:
            encoding = _encoding_of(file.read(4))
        return open(path, encoding=encoding, newline='')
    except (OSError, ValueError) as error:
        raise _unreadable(path, what, error) from error


def read_bytes(path: str | os.PathLike, what: str = 'file') -> bytes:
    """Return the contents of a regular file.

    Raises:
        DataError: it is missing, no regular file (a pipe would block for ever), or cannot be read.
    """
    _check_regular(path, what)
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(path, what, error) from error


def decode_text(data: bytes, path: str | os.PathLike, what: str = 'file') -> str:
    """Return the text of a file's contents, see ``read_text``; ``path`` is for the error alone."""
    encoding = _encoding_of(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        hint = ' (it looks like UTF-16 without its byte-order mark)' if b'\0' in data[:64] else ''
        raise DataError(
            f'the {what} {os.fspath(path)!r} is no {encoding.removesuffix("-sig").upper()} text: {error.reason} at '
            f'byte {error.start}{hint}. Save it as UTF-8.'
        ) from error


def _encoding_of(data: bytes) -> str:
    return next((name for mark, name in _MARKS if data.startswith(mark)), 'utf-8')


def _check_regular(path: str | os.PathLike, what: str) -> None:
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f'the {what} {os.fspath(path)!r} is no regular file')


def _unreadable(path: str | os.PathLike, what: str, error: OSError | ValueError) -> DataError:
    reason = getattr(error, 'strerror', None) or error
    return DataError(f'the {what} {os.fspath(path)!r} cannot be read: {reason}')
