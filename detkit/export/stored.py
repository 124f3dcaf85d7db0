"""Descriptions inside exported files that are archives, or that end with one."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from detkit.export.description import parse_description
from detkit.export.format import META_KEY, ExportFormat
from detkit.utils.errors import CheckpointError
from detkit.utils.files import ZIP_ERRORS

_MOST_CHARACTERS = 1 << 24
_ENTRY = f'{META_KEY}.json'


def stored_text(path: Path, suffix: str) -> str | None:
    """Return the text of the entry of an archive whose name ends in ``suffix``; None where there is none.

    Raises:
        CheckpointError: the file is no archive, or the entry is too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = next((entry for entry in archive.infolist() if f'/{entry.filename}'.endswith(suffix)), None)
            if entry is None:
                return None
            if entry.file_size > _MOST_CHARACTERS:
                raise CheckpointError(f'{path} holds a description of {entry.file_size:,} bytes, which is no such')
            return archive.read(entry).decode('utf-8', errors='replace')
    except ZIP_ERRORS as error:
        raise CheckpointError(f'{path} is truncated or is no exported file: {error}') from error


def add_text(archive: zipfile.ZipFile, name: str, text: str) -> None:
    """Add an entry to an archive, without a time, which a clock before 1980 would make none of an archive's."""
    archive.writestr(zipfile.ZipInfo(name), text)


def archived(text: str) -> bytes:
    """Return an archive that holds a description, to be put behind what a runtime reads."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w') as file:
        add_text(file, _ENTRY, text)
    return archive.getvalue()


def archived_text(path: Path) -> str | None:
    """Return the text of the archive at the end of a file, see ``archived`` and ``stored_text``."""
    return stored_text(path, f'/{_ENTRY}')


def output_names(text: str | None, path: Path) -> tuple[str, ...]:
    """Return the names of the outputs that the description in a file states, see ``parse_description``."""
    return parse_description(text, path).outputs


class AppendedFormat(ExportFormat):
    """Base of formats whose file is the network with an archive behind it, which holds the description.

    Their inputs have a fixed batch and size, and their runtimes are not made for hostile files.
    """

    in_extra, dynamic = False, ()
    trusted_only = True

    def write(self, network: bytes, description: str, path: Path) -> None:
        path.write_bytes(network + archived(description))

    def read_description(self, path: Path) -> str | None:
        return archived_text(path)
