"""Reading text files of other programs, whatever they put in front of the text."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

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


def read_bytes(path: str | os.PathLike, what: str = 'file') -> bytes:
    """Return the contents of a regular file.

    Raises:
        DataError: it is missing, no regular file (a pipe would block for ever), or cannot be read.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise DataError(f'the {what} {os.fspath(path)!r} is no regular file')
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, 'strerror', None) or error
        raise DataError(f'the {what} {os.fspath(path)!r} cannot be read: {reason}') from error


def decode_text(data: bytes, path: str | os.PathLike, what: str = 'file') -> str:
    """Return the text of a file's contents, see ``read_text``; ``path`` is for the error alone."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), 'utf-8')
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        hint = ' (it looks like UTF-16 without its byte-order mark)' if b'\0' in data[:64] else ''
        raise DataError(
            f'the {what} {os.fspath(path)!r} is no {encoding.removesuffix("-sig").upper()} text: {error.reason} at '
            f'byte {error.start}{hint}. Save it as UTF-8.'
        ) from error
