"""Download of files and unpacking of archives, neither of which is trusted."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import stat
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import quote, urlsplit

from detkit.utils.addresses import split_user
from detkit.utils.errors import DetkitError
from detkit.utils.files import ZIP_ERRORS, draft_folder, write_text
from detkit.utils.printable import is_terminal

# Seconds until the first byte must have come, finding and reaching the server included, and between any two later ones.
FIRST_BYTE_SECONDS = 9.0
STALL_SECONDS = 5.0
# A download that gets less than so many bytes in so many seconds will not end.
SLOW_SECONDS, SLOW_BYTES = 20.0, 20_000

_BLOCK = 1 << 16
_ATTEMPTS = 5  # of one download that breaks again and again
# Answers of a server or a proxy that is busy, which say nothing of the file.
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class DownloadError(DetkitError):
    """A file could not be downloaded, or differs from what was asked for."""


def is_web_address(url: str) -> bool:
    """Return whether an address is one of the web, and no path."""
    return url.lower().startswith(('http://', 'https://'))


def download(
    url: str, path: Path, max_bytes: int, sha256: str | None = None, patience: float = FIRST_BYTE_SECONDS
) -> None:
    """Fetch ``url`` into the new file ``path``.

    Args:
        url: the address of the file; a user and a password in it are given to its server alone (HTTP Basic).
        path: the file to write.
        max_bytes: the largest size that is accepted.
        sha256: checksum of the file or the first digits of it, if known.
        patience: seconds to wait for the first byte.

    Raises:
        DownloadError: no answer, too slow, truncated, too large, or of another checksum. ``path`` may then be a part.
    """
    if path.exists():
        raise DownloadError(f'{path} exists')
    _Transfer(url, path, max_bytes).run_and_wait(patience)
    _check_digest(file_sha256(path), sha256)


def download_once(url: str, path: Path, max_bytes: int, sha256: str | None = None) -> None:
    """Fetch ``url`` into ``path``, a file in a cache, unless it is there; a file of that name is always complete.

    One of another checksum, as other programs that share the cache may leave it, is fetched anew, with a line.

    Args:
        url, max_bytes, sha256: see ``download``.
        path: the file; its folder is made.

    Raises:
        DownloadError: see ``download``.
        OSError: the file cannot be written.
    """
    if path.is_file():
        if sha256 is None or file_sha256(path).startswith(sha256):
            return
        print(f'{path} is damaged, or another file: it is fetched anew', file=sys.stderr, flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft_folder(path.parent) as folder:
        download(url, folder / path.name, max_bytes, sha256)
        os.replace(folder / path.name, path)


def download_resumed(
    url: str,
    path: Path,
    max_bytes: int,
    num_bytes: int | None = None,
    sha256: str | None = None,
    patience: float = FIRST_BYTE_SECONDS,
) -> str:
    """Fetch ``url`` into ``path`` by way of ``path.part``, with which an interrupted download goes on.

    A part is gone on with (HTTP ranges) as long as the server says by its validator (``ETag``, ``Last-Modified``) that
    the file is still the same; otherwise the download starts anew. A connection that breaks is taken up again as long
    as something arrives. One process at a time may do this: the caller has a lock.

    Args:
        url, max_bytes, sha256, patience: see ``download``.
        path: the file to write; its folder exists.
        num_bytes: the size of the file, if known.

    Returns:
        The file's SHA-256.

    Raises:
        DownloadError: see ``download``. The part stays, unless it is wrong.
        OSError: the file cannot be written.
    """
    part, state = path.with_name(f'{path.name}.part'), path.with_name(f'{path.name}.part.json')
    for attempt in range(_ATTEMPTS):
        validator = _read_validator(state, url) if part.is_file() else ''
        start = part.stat().st_size if validator else 0
        if not validator:
            part.unlink(missing_ok=True)
        transfer = _Transfer(url, part, max_bytes, start, validator, state)
        try:
            transfer.run_and_wait(patience)
            break
        except DownloadError:
            if not transfer.broken:  # another file than expected, or none
                part.unlink(missing_ok=True)
                state.unlink(missing_ok=True)
            arrived = part.is_file() and part.stat().st_size > start
            if not (arrived and transfer.broken and transfer.resumable) or attempt == _ATTEMPTS - 1:
                raise
    try:
        if num_bytes is not None and part.stat().st_size != num_bytes:
            raise DownloadError(f'the file has {part.stat().st_size:,} bytes, not {num_bytes:,}')
        digest = file_sha256(part)
        _check_digest(digest, sha256)
    except DownloadError:
        part.unlink()
        raise
    finally:
        state.unlink(missing_ok=True)
    part.replace(path)
    return digest


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_digest(digest: str, expected: str | None) -> None:
    if expected is not None and not digest.startswith(expected):
        raise DownloadError(f'the file has the checksum {digest[:12]}..., not {expected[:12]}...')


def _read_validator(state: Path, url: str) -> str:
    """Return the validator of the part of ``url``; empty where there is none, and the part is of no use."""
    try:
        content = json.loads(state.read_text(encoding='utf-8'))
        return str(content['validator']) if content['url'] == _requested(url)[0] else ''
    except (OSError, ValueError, KeyError, TypeError):
        return ''


def _requested(url: str) -> tuple[str, tuple[str, str] | None]:
    """Return the address that is asked for, and the user and the password to give.

    An address as a browser shows it has letters and spaces that a request spells out.
    """
    url, user = split_user(url)
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]"), user


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection to a web address that is no less safe."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if new not in ('http', 'https') or (old == 'https' and new == 'http'):
            raise ValueError(f'the server redirects from {old} to {new}, which is refused')
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Transfer:
    """One download, and the state that its thread shares with the main one.

    Args:
        url, path, max_bytes: see ``download``.
        start: the bytes that ``path`` holds already.
        validator: the server's word for the file that those are of; empty for none.
        state: a file that keeps the validator, for a later download to go on with the part; None for none.

    Attributes:
        broken: whether the connection broke or the server was busy, so that another try may have more luck.
        resumable: whether the server gave a validator.
    """

    def __init__(
        self, url: str, path: Path, max_bytes: int, start: int = 0, validator: str = '', state: Path | None = None
    ) -> None:
        self.url, self.user = _requested(url)
        self.path, self.max_bytes = path, max_bytes
        self.start, self.validator, self.state = start, validator, state
        self.last_byte = time.monotonic()
        self.received, self.expected = 0, None
        self.error: str | None = None
        self.broken = self.resumable = False
        self.done = threading.Event()
        self.abandoned = False
        self.lock = threading.Lock()  # whoever has it may write to the file, or abandon the thread

    def run_and_wait(self, patience: float) -> None:
        """Fetch the file, showing progress.

        Raises:
            DownloadError: it did not arrive.
        """
        # A thread of its own, because a name look-up can hang for minutes and cannot be interrupted. Being a daemon it
        # does not keep the process from ending.
        threading.Thread(target=self._run, daemon=True).start()
        self._wait(patience)

    def _run(self) -> None:
        try:
            self._fetch()
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.broken = isinstance(error, OSError | http.client.HTTPException) and not (
                isinstance(error, urllib.error.HTTPError) and error.code not in _PASSING
            )
            self.error = _explain(error)
        finally:
            self.done.set()

    def _fetch(self) -> None:
        if not is_web_address(self.url):
            raise ValueError('files are downloaded from addresses that begin with http:// or https://')
        headers = {'User-Agent': 'detkit'}
        if self.start:
            headers |= {'Range': f'bytes={self.start}-', 'If-Range': self.validator}
        opener = urllib.request.build_opener(_CheckedRedirects())
        try:
            response = opener.open(self._request(headers), timeout=FIRST_BYTE_SECONDS)
        except urllib.error.HTTPError as error:
            if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not self.start:
                raise
            error.close()
            del headers['Range'], headers['If-Range']  # the part is as long as the file, or longer: begin anew
            response = opener.open(self._request(headers), timeout=FIRST_BYTE_SECONDS)
        with response:
            if response.headers.get_content_type() == 'text/html':
                raise http.client.HTTPException(
                    'the server sent a web page in place of the file, as for a login or an error'
                )
            self.received = self.start if self._goes_on(response) else 0
            length = response.headers.get('Content-Length')
            self.expected = self.received + int(length) if length else None
            self._keep_validator(response)
            with open(self.path, 'ab' if self.received else 'wb') as file:
                while True:
                    block = response.read1(_BLOCK)
                    if not block:
                        break
                    with self.lock:
                        if self.abandoned:
                            return
                        self.last_byte = time.monotonic()
                        self.received += len(block)
                        if max(self.received, self.expected or 0) > self.max_bytes:
                            raise ValueError(f'the file is larger than {self.max_bytes / 1e6:.0f} MB')
                        file.write(block)
        if self.expected is not None and self.received != self.expected:
            raise http.client.HTTPException(f'only {self.received} of {self.expected} bytes arrived')

    def _request(self, headers: dict[str, str]) -> urllib.request.Request:
        request = urllib.request.Request(self.url, headers=headers)
        if self.user is not None:
            token = base64.b64encode(':'.join(self.user).encode()).decode()
            request.add_unredirected_header('Authorization', f'Basic {token}')
        return request

    def _goes_on(self, response: http.client.HTTPResponse) -> bool:
        """Return whether an answer is the rest of the file.

        Raises:
            ValueError: it is another part of it.
        """
        if response.status != http.client.PARTIAL_CONTENT:
            return False
        where = response.headers.get('Content-Range', '')
        if not self.start or not where.startswith(f'bytes {self.start}-'):
            raise ValueError(f'the server sent another part of the file ({where or "it does not say which"})')
        return True

    def _keep_validator(self, response: http.client.HTTPResponse) -> None:
        etag = response.headers.get('ETag', '')
        validator = response.headers.get('Last-Modified', '') if not etag or etag.startswith('W/') else etag
        self.resumable = bool(validator) and self.state is not None
        if self.state is not None:
            write_text(self.state, json.dumps({'url': self.url, 'validator': validator}))

    def _wait(self, patience: float) -> None:
        """Show progress until the thread has ended or nothing has come for too long."""
        shows = is_terminal(sys.stderr)
        began, had = time.monotonic(), self.received
        while not self.done.wait(0.05):
            if shows and self.received:
                sys.stderr.write(f'\rDownloading {self._progress()}')
                sys.stderr.flush()
            limit = STALL_SECONDS if self.received > self.start else patience
            with self.lock:
                if time.monotonic() - self.last_byte > limit:
                    self.abandoned = self.broken = True
                    self.error = f'nothing came for {limit:g} s'
                    break
                if time.monotonic() - began > SLOW_SECONDS:
                    if 0 < self.received - had < SLOW_BYTES:
                        self.abandoned = self.broken = True
                        self.error = f'only {self.received - had:,} bytes came in {SLOW_SECONDS:g} s'
                        break
                    began, had = time.monotonic(), self.received
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
    except ZIP_ERRORS as error:
        raise DownloadError(f'the archive cannot be unpacked: {error}') from error


def _explain(error: Exception) -> str:
    reason = error if isinstance(error, urllib.error.HTTPError) else getattr(error, 'reason', error)
    if isinstance(error, urllib.error.HTTPError) and (wait := error.headers.get('Retry-After', '')).isdecimal():
        return f'{error}; it takes requests again in {wait[:9]} s'
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
