"""Writing files so that a kill or a full disk leaves the old content, never half of the new."""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import stat
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from detkit.utils.errors import DetkitError

_DRAFTS = '.detkit-draft-'
# The folders of links to open files, which may be regular files.
_STREAM_FOLDERS = ('/dev', '/dev/fd', '/proc/self/fd')
_STALE = 24 * 3600.0  # seconds after which nobody writes into a folder of drafts any more

# The errors of a disk that is full, of a quota, of a limit of a file's size, and of a device.
WRITE_FAULTS = {getattr(errno, name) for name in ('ENOSPC', 'EDQUOT', 'EFBIG', 'EIO') if hasattr(errno, name)}

# The remedies of errors other than a full disk.
_REMEDIES = {
    errno.EFBIG: 'A limit of the size of files is too low for it: raise it (ulimit -f), or write to another disk.',
    getattr(errno, 'EDQUOT', None): 'The quota is used up: free some space of yours, or have it raised.',
}

# The errors of reading a damaged or forged archive, beside BadZipFile. NotImplementedError, for kinds of compression
# that Python lacks, is a RuntimeError.
ZIP_ERRORS = (
    zipfile.BadZipFile,
    EOFError,
    IndexError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zlib.error,
)


class SaveError(DetkitError):
    """A file cannot be written: the disk is full, read-only or gone."""


@contextmanager
def replacing(path: str | Path, sync: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of ``path`` when the block ends, and is removed after an error.

    A device or a pipe, such as ``/dev/stdout``, is written itself.

    Args:
        path: the file; its folder exists.
        sync: wait until the new file would survive a power cut.

    Raises:
        OSError: it cannot be written, which names ``path``; ``path`` is as it was. Of two processes that write it at
            the same time, the one that began first gets this error.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.tmp')
    own = None
    try:
        if _is_stream(path):
            with open(path, 'ab', opener=_open_at_once) as file:
                os.set_blocking(file.fileno(), True)  # but for opening it
                yield file
            return
        temporary.unlink(missing_ok=True)  # so that nobody else writes into this process's file
        with open(temporary, 'xb') as file:
            own = os.fstat(file.fileno())
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
            check_own(temporary, own, path)
        os.replace(temporary, path)
    except BaseException as error:
        if own is not None:
            remove_own(temporary, own)
        if isinstance(error, OSError) and (error.filename == str(temporary) or _is_unnamed_fault(error)):
            raise type(error)(error.errno, error.strerror, str(path)) from None
        raise
    if sync and os.name == 'posix':
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the rename itself must survive, too
        finally:
            os.close(directory)


def _is_stream(path: Path) -> bool:
    """Return whether a path is a device, a pipe or an open file of this process, none of which a file may replace."""
    try:
        mode = path.stat().st_mode
    except OSError:  # there is no such file yet
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or str(path.absolute().parent) in _STREAM_FOLDERS


def check_own(temporary: Path, own: os.stat_result, path: Path) -> None:
    """Check that a temporary file, which takes the place of ``path``, is the one that was opened.

    Raises:
        OSError: it is another process's, which writes ``path`` at the same time.
    """
    if not _is_file(temporary, own):
        reason = 'another process writes it at the same time, give each a folder of its own'
        raise OSError(errno.EBUSY, reason, str(path))


def remove_own(temporary: Path, own: os.stat_result) -> None:
    """Remove a temporary file if it is the one that was opened, and if it can be removed."""
    if _is_file(temporary, own):
        with suppress(OSError):
            temporary.unlink()


def _is_unnamed_fault(error: OSError) -> bool:
    """Return whether an error is one of writing into an open file, which names none."""
    return error.filename is None and error.errno in WRITE_FAULTS


def _is_file(path: Path, stat: os.stat_result) -> bool:
    """Return whether a path is the file that was opened with these properties."""
    try:
        return os.path.samestat(path.stat(), stat)
    except OSError:
        return False


def remove_leftovers(folder: str | Path) -> None:
    """Remove the temporary files of ``replacing`` that killed processes left where nobody else writes."""
    for path in Path(folder).glob('.*.tmp'):
        with suppress(OSError):  # another user's
            path.unlink()


@contextmanager
def draft_folder(folder: str | Path) -> Iterator[Path]:
    """Make a hidden folder, for what is renamed to its place in ``folder`` once it is whole.

    Its name is its own, whatever other processes write there, and it is removed when the block ends. Those that killed
    processes left a day ago or earlier are removed, too.

    Raises:
        OSError: it cannot be made, or the disk is full in the block, which names ``folder``.
    """
    folder = Path(folder)
    try:
        _remove_stale(folder.absolute())
        draft = Path(tempfile.mkdtemp(prefix=_DRAFTS, dir=folder))
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(folder)) from None
    try:
        yield draft
    except OSError as error:
        if _is_unnamed_fault(error):
            raise type(error)(error.errno, error.strerror, str(folder)) from None
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@cache  # once is enough, and a folder may hold millions of files
def _remove_stale(folder: Path) -> None:
    """Remove the folders of drafts in ``folder`` that nobody writes into any more."""
    for entry in os.scandir(folder):
        with suppress(OSError):  # another process removes it, or owns it
            if entry.name.startswith(_DRAFTS) and time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE:
                shutil.rmtree(entry.path)


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Let one process at a time run the block; a process that dies gives its lock back.

    Args:
        path: the file that stands for the lock; it is made, and stays.

    Raises:
        OSError: it cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows: there renaming fails where another process was first
        yield
        return
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_folder(folder: str | Path) -> Iterator[None]:
    """Let one process at a time run the block for a folder, where its file system has locks of folders.

    Raises:
        OSError: there is no such folder.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # no locks
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def write_text(path: str | Path, text: str, errors: str = 'backslashreplace') -> None:
    """Write a UTF-8 file, see ``replacing``; ``errors`` is what becomes of characters that are no text."""
    with replacing(path) as file:
        file.write(text.encode('utf-8', errors=errors))


def append_text(path: str | Path, text: str) -> None:
    """Append to a UTF-8 file, which is made if need be: all of the text, or nothing where there is no space.

    A file's name in the text may hold bytes that are no text; they are escaped.

    Raises:
        OSError: it cannot be written.
    """
    data = text.encode('utf-8', errors='backslashreplace')
    with open(path, 'ab', buffering=0, opener=_open_at_once) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            while data:
                data = data[file.write(data) :]
        except OSError:
            file.truncate(size)
            raise


def keep_lines(path: str | Path, wanted: Callable[[str], bool]) -> None:
    """Remove the lines of a UTF-8 file that are not ``wanted``, and what a kill left of a line that was being written.

    Lines that ``wanted`` raises an error of values for, as somebody else wrote them, are kept. Nothing happens where
    there is no such file.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    if path.is_file():
        text = path.read_bytes().decode('utf-8', errors='surrogateescape')
        kept = ''.join(f'{line}\n' for line in text.split('\n')[:-1] if _is_kept(line, wanted))
        if kept != text:
            write_text(path, kept, errors='surrogateescape')


def _is_kept(line: str, wanted: Callable[[str], bool]) -> bool:
    try:
        return wanted(line)
    except (LookupError, RecursionError, TypeError, ValueError):
        return True


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a pipe without a reader, which would wait for one, is an error."""
    return os.open(path, flags | getattr(os, 'O_NONBLOCK', 0), 0o666)


def write_fault(folder: str | Path) -> OSError | None:
    """Return the error of writing a megabyte into a folder, with its name; None where it can be written.

    It tells whether a library that has errors of its own failed for the disk.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1_000_000))
    except OSError as error:
        return type(error)(error.errno, error.strerror, str(folder))
    return None


def save_error(path: str | Path, error: OSError, num_bytes: int) -> SaveError:
    """Return the error of a file of ``num_bytes`` that could not be written, with the space that is free."""
    try:
        free = f'{size_text(shutil.disk_usage(Path(path).parent).free)} are free'
    except OSError:
        free = 'its folder is gone'
    remedy = _REMEDIES.get(error.errno, 'Free some space, or make the folder writable again.')
    return SaveError(
        f'{path} cannot be written ({error.strerror or error}): it needs {size_text(num_bytes)}, and {free}. {remedy}'
    )


def size_text(num_bytes: int) -> str:
    """Format a number of bytes: ``2500000`` -> ``2.5 MB``."""
    value, unit = float(num_bytes), 'B'
    for larger in ('kB', 'MB', 'GB', 'TB'):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f'{value:.3g} {unit}'
