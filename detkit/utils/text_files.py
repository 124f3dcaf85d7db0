"""Reading text files of other programs, whatever they put in front of the text."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from detkit.utils.errors import DataError
from detkit.utils.limits import BYTES_VARIABLE, MAX_FILE_BYTES, MAX_LINE

# The first bytes of a file that gzip packed.
_GZIP = b'\x1f\x8b'
# How many bytes show what a file is.
_HEAD = 64
# The longer mark first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF32_LE, 'utf-32'),
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)


def read_text(path: str | os.PathLike, what: str = 'file', max_bytes: int = MAX_FILE_BYTES) -> str:
    """Return the text of a file in UTF-8, with or without a byte-order mark, or in UTF-16 or UTF-32 with one.

    Args:
        path: the file.
        what: a noun for the file in errors, such as 'image list'.
        max_bytes: a larger file is refused before it is read.

    Raises:
        DataError: the file cannot be read, is too large, or is no such text.
    """
    return decode_text(read_bytes(path, what, max_bytes), path, what)


def open_text(path: str | os.PathLike, what: str = 'file') -> TextIO:
    """Open a text file that is too large to be read at once, in any encoding that ``read_text`` knows.

    Lines end as they do in the file (``newline=''``). Reading raises ``UnicodeDecodeError`` where it is no such text.

    Raises:
        DataError: it is missing, no regular file, cannot be read, or is packed or unmarked as ``check_plain`` says.
    """
    check_regular(path, what)
    try:
        with open(path, 'rb') as file:
            head = file.read(_HEAD)
        check_plain(head, path, what)
        encoding = _encoding_of(head)
        return open(path, encoding=encoding, newline='')
    except (OSError, ValueError) as error:
        raise _unreadable(path, what, error) from error


def read_lines(file: TextIO, path: str | os.PathLike, what: str = 'file') -> Iterator[str]:
    """Yield the lines of an open file with their ends.

    Raises:
        DataError: a line is longer than any line of data: a file without line ends would fill the memory.
    """
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise DataError(f'the {what} {os.fspath(path)!r} has a line of more than {MAX_LINE:,} characters')
        yield line


def read_bytes(path: str | os.PathLike, what: str = 'file', max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the contents of a regular file.

    Raises:
        DataError: it is missing, no regular file (a pipe would block for ever), too large, or cannot be read.
    """
    check_regular(path, what)
    try:
        if (size := os.path.getsize(path)) > max_bytes:
            hint = (
                f'. {BYTES_VARIABLE}={size} in the environment reads it anyway' if max_bytes == MAX_FILE_BYTES else ''
            )
            raise DataError(f'the {what} {os.fspath(path)!r} has {size:,} bytes, more than {max_bytes:,}{hint}')
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(path, what, error) from error


def decode_text(data: bytes, path: str | os.PathLike, what: str = 'file') -> str:
    """Return the text of a file's contents, see ``read_text``; ``path`` is for the error alone."""
    check_plain(data, path, what)
    encoding = _encoding_of(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        hint = ' (it looks like UTF-16 without its byte-order mark)' if b'\0' in data[:_HEAD] else ''
        raise DataError(
            f'the {what} {os.fspath(path)!r} is no {encoding.removesuffix("-sig").upper()} text: {error.reason} at '
            f'byte {error.start}{hint}. Save it as UTF-8.'
        ) from error


def check_plain(data: bytes, path: str | os.PathLike, what: str = 'file') -> None:
    """Refuse what is no plain text by its first bytes, though it might be decoded as such.

    Raises:
        DataError: it is a gzip file, or UTF-16 without its byte-order mark, every second byte of which is NUL.
    """
    if data.startswith(_GZIP):
        raise DataError(f'the {what} {os.fspath(path)!r} is a gzip file; unpack it')
    head = data[:_HEAD]
    if (
        b'\0' in head
        and len(head) > 1
        and any(not any(head[start::2]) and all(head[1 - start :: 2]) for start in (0, 1))
    ):
        raise DataError(
            f'the {what} {os.fspath(path)!r} looks like UTF-16 without its byte-order mark: save it as UTF-8'
        )


def is_printable(text: str) -> bool:
    """Return whether a text can be written to a file: a lone half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encoding_of(data: bytes) -> str:
    return next((name for mark, name in _MARKS if data.startswith(mark)), 'utf-8')


def check_regular(path: str | os.PathLike, what: str) -> None:
    """Raise ``DataError`` where a path is there but no regular file, such as a pipe, which would block for ever."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f'the {what} {os.fspath(path)!r} is no regular file')


def _unreadable(path: str | os.PathLike, what: str, error: OSError | ValueError) -> DataError:
    reason = getattr(error, 'strerror', None) or error
    return DataError(f'the {what} {os.fspath(path)!r} cannot be read: {reason}')
