"""Download of files and unpacking of archives, neither of which is trusted."""

from __future__ import annotations

import hashlib
import http.client
import os
import stat
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from detkit.utils.errors import DetkitError
from detkit.utils.torch_files import ZIP_ERRORS

# Seconds until the first byte must have come, finding and reaching the server included, and between any two later ones.
FIRST_BYTE_SECONDS = 9.0
STALL_SECONDS = 5.0

_BLOCK = 1 << 16


class DownloadError(DetkitError):
    """A file could not be downloaded, or differs from what was asked for."""


def download(
    url: str, path: Path, max_bytes: int, sha256: str | None = None, patience: float = FIRST_BYTE_SECONDS
) -> None:
    """Fetch ``url`` into the new file ``path``.

    Args:
        url: the address of the file.
        path: the file to write.
        max_bytes: the largest size that is accepted.
        sha256: checksum of the file or the first digits of it, if known.
        patience: seconds to wait for the first byte.

    Raises:
        DownloadError: no answer, too slow, truncated, too large, or of another checksum. ``path`` may then be a part.
    """
    transfer = _Transfer(url, path, max_bytes)
    # A thread of its own, because a name look-up can hang for minutes and cannot be interrupted. Being a daemon it
    # does not keep the process from ending.
    threading.Thread(target=transfer.run, daemon=True).start()
    transfer.wait(patience)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 is not None and not digest.startswith(sha256):
        raise DownloadError(f'the file has the checksum {digest[:12]}..., not {sha256[:12]}...')


def download_once(url: str, path: Path, max_bytes: int, sha256: str | None = None) -> None:
    """Fetch ``url`` into ``path``, a file in a cache, unless it is there; a file of that name is always complete.

    Args:
        url, max_bytes, sha256: see ``download``.
        path: the file; its folder is made.

    Raises:
        DownloadError: see ``download``.
        OSError: the file cannot be written.
    """
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        download(url, part, max_bytes, sha256)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class _Transfer:
    """One download, and the state that its thread shares with the main one."""

    def __init__(self, url: str, path: Path, max_bytes: int) -> None:
        self.url, self.path, self.max_bytes = url, path, max_bytes
        self.last_byte = time.monotonic()
        self.received, self.expected = 0, None
        self.error: str | None = None
        self.done = threading.Event()
        self.abandoned = threading.Event()

    def run(self) -> None:
        try:
            self._fetch()
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.error = _explain(error)
        finally:
            self.done.set()

    def _fetch(self) -> None:
        request = urllib.request.Request(self.url, headers={'User-Agent': 'detkit'})
        with urllib.request.urlopen(request, timeout=FIRST_BYTE_SECONDS) as response, open(self.path, 'xb') as file:
            length = response.headers.get('Content-Length')
            self.expected = int(length) if length else None
            while not self.abandoned.is_set():
                block = response.read1(_BLOCK)
                if not block:
                    break
                self.last_byte = time.monotonic()
                self.received += len(block)
                if max(self.received, self.expected or 0) > self.max_bytes:
                    raise ValueError(f'the file is larger than {self.max_bytes / 1e6:.0f} MB')
                file.write(block)
        if self.expected is not None and self.received != self.expected:
            raise ValueError(f'only {self.received} of {self.expected} bytes arrived')

    def wait(self, patience: float) -> None:
        """Show progress until the thread has ended or nothing has come for too long."""
        shows = sys.stderr.isatty()
        while not self.done.wait(0.05):
            if shows and self.received:
                sys.stderr.write(f'\rDownloading {self._progress()}')
                sys.stderr.flush()
            limit = STALL_SECONDS if self.received else patience
            if time.monotonic() - self.last_byte > limit:
                self.abandoned.set()
                self.error = f'nothing came for {limit:g} s'
                break
        if shows and self.received:
            sys.stderr.write(f'\rDownloaded {self._progress()} \n')
        if self.error is not None:
            raise DownloadError(self.error)

    def _progress(self) -> str:
        if not self.expected:
            return f'{self.received / 1e6:.1f} MB'
        filled = int(30 * self.received / self.expected)
        bar = '#' * filled + '.' * (30 - filled)
        return f'[{bar}] {self.received / 1e6:.1f} of {self.expected / 1e6:.1f} MB'


def unpack(archive: Path, folder: Path, max_bytes: int) -> None:
    """Unpack a zip file into ``folder``, without the one top folder that all its files may share.

    Raises:
        DownloadError: it is no zip file, is damaged, would unpack to more than ``max_bytes``, or holds an entry that
            points outside ``folder`` (absolute, ``..``, a link). Nothing is unpacked then.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            entries = [entry for entry in content.infolist() if not entry.filename.endswith('/')]
            for entry in entries:
                _check_entry(entry)
            if sum(entry.file_size for entry in entries) > max_bytes:
                raise DownloadError(f'the archive unpacks to more than {max_bytes / 1e6:.0f} MB')
            damaged = content.testzip()
            if damaged is not None:
                raise DownloadError(f'the archive is damaged at {damaged!r}')
            paths = [PurePosixPath(entry.filename) for entry in entries]
            one_top = len({path.parts[0] for path in paths}) == 1 and all(len(path.parts) > 1 for path in paths)
            depth = 1 if one_top else 0
            for entry, path in zip(entries, paths, strict=True):
                target = folder.joinpath(*path.parts[depth:])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read(entry))
    except (*ZIP_ERRORS, zlib.error) as error:
        raise DownloadError(f'the archive cannot be unpacked: {error}') from error


def _explain(error: Exception) -> str:
    reason = error if isinstance(error, urllib.error.HTTPError) else getattr(error, 'reason', error)
    return getattr(reason, 'strerror', None) or str(reason) or type(reason).__name__


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename
    parts = name.replace('\\', '/').split('/')
    mode = entry.external_attr >> 16
    if (
        not PurePosixPath(entry.filename).parts
        or name.startswith(('/', '\\'))
        or ':' in parts[0]
        or '..' in parts
        or '\\' in name
        or '\0' in name
    ):
        raise DownloadError(f'the archive has an entry that points outside it: {name!r}')
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise DownloadError(f'the archive has an entry that is no plain file: {name!r}')
