"""Locks of run folders, so that two processes never write into one at a time."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import TextIO

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, folders are told apart by the making of new ones alone
    fcntl = None

LOCK_FILE = 'run.lock'
_TAKEN = {errno.EACCES, errno.EAGAIN}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
# By resolved folder. The files are never opened twice: closing either would end the lock of the process.
_held: dict[Path, TextIO] = {}


def lock_folder(folder: Path) -> str | None:
    """Lock a folder for this process, until the process ends, however it does, or ``unlock_folder`` is called.

    The system keeps the lock (``fcntl``), also between the machines that share a folder by NFS. Processes that this one
    starts do not have it. Locking a folder again that this process has locked does nothing.

    Returns:
        None, or the process that has locked the folder, as 'process 4711 on gpu-3'. None also where the file system has
        no locks, see ``is_locked``.

    Raises:
        OSError: nothing can be written into the folder.
    """
    folder = folder.resolve()
    if fcntl is None or folder in _held:
        return None
    path = folder / LOCK_FILE
    while True:
        file = open(path, 'a+', encoding='utf-8', errors='replace')  # noqa: SIM115, the lock is as long as the file
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read(200).strip()
            file.close()
            if error.errno in _TAKEN:
                return holder or 'another process'
            if error.errno in _NO_LOCKS:
                path.unlink(missing_ok=True)
                return None
            raise
        if _is_at(file, path):
            break
        file.close()  # its holder removed it between the two calls
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
    file.flush()
    _held[folder] = file
    return None


def is_locked(folder: Path) -> bool:
    """Return whether this process has locked the folder."""
    return folder.resolve() in _held


def unlock_folder(folder: Path) -> None:
    """End this process's lock of a folder, if it has one."""
    folder = folder.resolve()
    file = _held.pop(folder, None)
    if file is not None:
        if _is_at(file, folder / LOCK_FILE):
            (folder / LOCK_FILE).unlink()
        file.close()


def _is_at(file: TextIO, path: Path) -> bool:
    """Return whether an open file is still what its path names."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
