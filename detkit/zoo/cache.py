"""The folder that keeps fetched weights: what is in it is whole and was checked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from detkit.utils.addresses import without_password
from detkit.utils.cache import CACHE_VARIABLE, cache_folder
from detkit.utils.download import FIRST_BYTE_SECONDS, DownloadError, download_resumed, file_sha256, is_web_address
from detkit.utils.errors import CheckpointError
from detkit.utils.files import size_text, write_text
from detkit.zoo.entries import Entry, RemoteFile, find_entry

__all__ = ['CACHE_VARIABLE', 'URL_VARIABLE', 'cache_folder', 'cached', 'entry_folder', 'provide_file']

# Environment variable: the address to fetch weights from in place of their own (empty: do not use the network), which
# holds the same tree as the cache.
URL_VARIABLE = 'DETKIT_ZOO_URL'
# The largest size of a file for which none is published.
_MAX_BYTES = 2_000_000_000


def entry_folder(entry: Entry) -> Path:
    """Return the folder of an entry's files."""
    return cache_folder() / 'zoo' / entry.name


def cached(name: str) -> Path | None:
    """Return the file that the cache has of named weights, as it was fetched; None where it has none.

    Raises:
        ConfigError: there are no weights of that name.
    """
    entry = find_entry(name)
    path = entry_folder(entry) / entry.files[0].name
    return path if path.is_file() else None


def address_of(entry: Entry, file: RemoteFile) -> str:
    """Return the address to fetch a file from; empty where the network is not to be used."""
    mirror = os.environ.get(URL_VARIABLE)
    if mirror is None or not is_web_address(file.url):
        return file.url
    mirror = os.path.expanduser(mirror.strip())  # it may be a folder
    return f'{mirror.rstrip("/")}/{entry.name}/{file.name}' if mirror else ''


def provide_file(
    entry: Entry, file: RemoteFile, given: Path | None = None, patience: float = FIRST_BYTE_SECONDS
) -> tuple[Path, str, bool]:
    """Return a file of the cache, which is fetched if it is not there. The caller has the lock of the entry.

    A file that lies there already, put there by hand or not, is checked like one that was fetched. Where the digest is
    not known, that of the first use is recorded beside it (``NAME.sha256``, as ``sha256sum`` writes it) and counts from
    then on.

    Args:
        entry: the entry.
        file: one of its files.
        given: a file to copy in place of a download.
        patience: seconds to wait for the first byte.

    Returns:
        The path, its SHA-256, and whether that was seen for the first time.

    Raises:
        CheckpointError: it cannot be fetched, or is another file than expected; says what to do.
    """
    path = entry_folder(entry) / file.name
    record = _record_of(path)
    if given is not None:
        _copy_given(given, file, path, record)
    if path.is_file():
        known = _recorded(record)
        if known is not None and record.stat().st_mtime_ns >= path.stat().st_mtime_ns and _fits(file, path, known):
            return path, known, False
        digest = file_sha256(path)
        _check_present(file, path, digest, known)
    else:
        digest = _fetch(entry, file, path, patience)
    write_text(record, f'{digest}  {file.name}\n')
    return path, digest, True


def discard_file(path: Path) -> None:
    """Remove a file of the cache and what is recorded of it."""
    path.unlink(missing_ok=True)
    _record_of(path).unlink(missing_ok=True)


def _record_of(path: Path) -> Path:
    return path.with_name(f'{path.name}.sha256')


def _fetch(entry: Entry, file: RemoteFile, path: Path, patience: float) -> str:
    url = address_of(entry, file)
    try:
        if not url:
            raise DownloadError(f'no download wanted: {URL_VARIABLE} is empty')
        if not is_web_address(url):
            if '://' in url:
                raise DownloadError('weights are fetched from http:// and https:// addresses, and copied from folders')
            return _copy_checked(Path(url), file, path)
        return download_resumed(url, path, file.num_bytes or _MAX_BYTES, file.num_bytes, file.sha256, patience)
    except (DownloadError, OSError) as error:
        where = f' from {without_password(url)}' if url else ''
        raise CheckpointError(
            f'the weights {entry.name} could not be fetched{where} ({error}). Fetch {without_password(file.url)} '
            f'on a machine with a network and put the file at {path}, or give it: detkit zoo fetch {entry.name} '
            f'--file {file.name}'
        ) from error


def _copy_given(given: Path, file: RemoteFile, path: Path, record: Path) -> None:
    if not given.is_file():
        kind = 'is a folder' if given.is_dir() else 'does not exist'
        raise CheckpointError(f'{given} {kind}; give {file.name}, fetched from {without_password(file.url)}')
    problem = _problem(file, given, file_sha256(given))
    if problem:
        raise CheckpointError(f'{given} is another file than {file.url}: {problem}')
    if not (path.exists() and given.samefile(path)):
        shutil.copyfile(given, path.with_name(f'{path.name}.part'))
        path.with_name(f'{path.name}.part').replace(path)
    record.unlink(missing_ok=True)


def _copy_checked(source: Path, file: RemoteFile, path: Path) -> str:
    if not source.is_file():
        raise DownloadError(f'{source} does not exist')
    digest = file_sha256(source)
    problem = _problem(file, source, digest)
    if problem:
        raise DownloadError(problem)
    part = path.with_name(f'{path.name}.part')
    shutil.copyfile(source, part)
    part.replace(path)
    return digest


def _check_present(file: RemoteFile, path: Path, digest: str, known: str | None) -> None:
    problem = _problem(file, path, digest)
    if not problem and known is not None and known != digest:
        problem = f'its checksum is {digest[:12]}..., and was {known[:12]}... when it was first used'
    if problem:
        raise CheckpointError(
            f'{path} is another file than expected: {problem}. Remove it to have it fetched anew; if it is right, '
            f'write an entry of your own for it (docs/zoo.md), or remove {path.name}.sha256 if that is out of date.'
        )


def _problem(file: RemoteFile, path: Path, digest: str) -> str:
    """Return why a file is not the expected one; empty where it may be."""
    size = path.stat().st_size
    if file.num_bytes is not None and size != file.num_bytes:
        return f'it has {size_text(size)} ({size:,} bytes), not {file.num_bytes:,}'
    if file.sha256 is not None and not digest.startswith(file.sha256):
        return f'its checksum is {digest[:12]}..., not {file.sha256[:12]}...'
    return ''


def _fits(file: RemoteFile, path: Path, digest: str) -> bool:
    return not _problem(file, path, digest)


def _recorded(record: Path) -> str | None:
    """Return the digest of a ``.sha256`` file; None where there is none."""
    try:
        words = record.read_text(encoding='ascii').split()
    except (OSError, ValueError):
        return None
    return words[0] if words and len(words[0]) == 64 else None
