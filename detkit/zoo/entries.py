"""The entries of the zoo: detkit's own table, and tables of the user."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec
import yaml

from detkit.utils.download import is_web_address
from detkit.utils.errors import ConfigError, nearest
from detkit.utils.text_files import read_text

__all__ = ['ENTRIES_VARIABLE', 'Entry', 'RemoteFile', 'find_entry', 'list_entries', 'read_entries']

# Environment variable with the user's own tables, separated as in PATH.
ENTRIES_VARIABLE = 'DETKIT_ZOO_FILE'
_OWN = Path(__file__).with_name('entries.yaml')
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,99}')
_DIGEST = re.compile(r'[0-9a-f]{8,64}')


@dataclass(frozen=True)
class RemoteFile:
    """A file that an entry consists of.

    Attributes:
        name: its name in the cache.
        url: its address, or a path.
        num_bytes: its size, where it is known.
        sha256: its digest or the first digits of it, where they are known.
    """

    name: str
    url: str
    num_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Entry:
    """Weights with a name.

    Attributes:
        name: the name.
        family: the name of the model, without its size.
        task: 'det', 'seg', 'pose', 'obb', 'cls', 'panoptic', or 'backbone' of weights that are no whole model.
        files: the file with the weights, and those that belong beside it.
        converter: the project whose converter reads the file; 'detkit' for a checkpoint of detkit, 'none' for weights
            that are used as they are.
        licence: the licence's name.
        permissive: whether the licence lets a program that contains the weights keep its own licence.
        licence_note: a sentence on what the licence asks for; empty where that is little.
        page: the address of the page with the published metrics.
        measured: the data and the image size that ``metrics`` are of.
        metrics: the published results by name.
        config: the config of the model; empty for a backbone.
        size: the ``size`` of that config; empty where it has none.
    """

    name: str
    family: str
    task: str
    files: tuple[RemoteFile, ...]
    converter: str
    licence: str
    permissive: bool
    licence_note: str
    page: str
    measured: str
    metrics: Mapping[str, float]
    config: str
    size: str

    def licence_line(self) -> str:
        """Return a sentence for people on the licence of the weights."""
        note = f': {self.licence_note}' if self.licence_note else ''
        return f'licence  {self.name}: {self.licence}{note}'


class _Licence(msgspec.Struct, forbid_unknown_fields=True):
    permissive: bool
    note: str = ''


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    size: str = ''
    bytes: int | None = None
    sha256: str | None = None
    url: str | None = None
    values: Sequence[float] = ()


class _Family(msgspec.Struct, forbid_unknown_fields=True):
    family: str
    converter: Literal[
        'ultralytics',
        'yolov5',
        'darknet',
        'yolox',
        'detr',
        'rfdetr',
        'rtdetr',
        'dfine',
        'torchvision',
        'detkit',
        'none',
    ]
    licence: str
    task: Literal['det', 'seg', 'pose', 'obb', 'cls', 'panoptic', 'backbone']
    entries: dict[str, _Row]
    url: str = ''
    page: str = ''
    beside: Sequence[str] = ()
    measured: str = ''
    metrics: Sequence[str] = ()
    config: str = ''


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    families: list[_Family]
    licences: dict[str, _Licence] = {}


def read_entries(path: str | Path) -> dict[str, Entry]:
    """Read a table of entries; nothing in it is run.

    Raises:
        ConfigError: it is missing, or no such table; names the key.
    """
    path = Path(path)
    if not path.is_file():
        what = 'is no file' if path.exists() else 'does not exist'
        raise ConfigError(f'the table of weights {path} {what} ({ENTRIES_VARIABLE} names tables)')
    try:
        table = msgspec.convert(yaml.safe_load(read_text(path, 'table of weights')), _Table)
    except (yaml.YAMLError, msgspec.ValidationError, RecursionError) as error:
        mark = getattr(error, 'problem_mark', None)
        where = f'{path}:{mark.line + 1}' if mark is not None else str(path)
        reason = getattr(error, 'problem', None) or str(error).partition('\n')[0]
        raise ConfigError(
            f'{where}: this is no table of weights ({reason}); correct it as docs/zoo.md shows, or leave it out of '
            f'{ENTRIES_VARIABLE}'
        ) from error
    known = _licences(path, table)
    entries: dict[str, Entry] = {}
    for family in table.families:
        if family.licence not in known:
            raise ConfigError(
                f'{path}: the family {family.family!r} has the licence {family.licence!r}, about which `licences` says '
                'nothing; add {permissive: true} or {permissive: false, note: ...} for it there'
            )
        for name, row in family.entries.items():
            if name in entries:
                raise ConfigError(f'{path}: {name!r} is there twice')
            entries[name] = _entry(path, name, family, row, known[family.licence])
    return entries


def _licences(path: Path, table: _Table) -> dict[str, _Licence]:
    return table.licences if path == _OWN else {**_own_licences(), **table.licences}


@lru_cache(maxsize=1)
def _own_licences() -> dict[str, _Licence]:
    return msgspec.convert(yaml.safe_load(_OWN.read_text(encoding='utf-8')), _Table).licences


def _entry(path: Path, name: str, family: _Family, row: _Row, licence: _Licence) -> Entry:
    def refuse(what: str) -> ConfigError:
        return ConfigError(f'{path}: {name!r} {what}')

    if not _NAME.fullmatch(name):
        raise refuse('is no name: letters, digits, dots, dashes and underscores are allowed, 100 at most')
    if row.sha256 is not None and not _DIGEST.fullmatch(row.sha256):
        raise refuse(f'has the sha256 {row.sha256!r}; expected 8 to 64 hexadecimal digits in lower case and quotes')
    if row.bytes is not None and row.bytes <= 0:
        raise refuse(f'has {row.bytes} bytes')
    if len(row.values) != len(family.metrics):
        raise refuse(f'has {len(row.values)} values for {len(family.metrics)} metrics')
    url = row.url or family.url
    if not url:
        raise refuse('has no url')
    for key, value in (('name', name), ('size', row.size), ('sha256', row.sha256 or '')):
        url = url.replace(f'{{{key}}}', value)
    if '://' in url and not is_web_address(url):
        raise refuse(f'has the url {url!r}; expected a path, or an address that begins with http:// or https://')
    url = _absolute(url, path)
    try:
        files = [RemoteFile(_file_name(url), url, row.bytes, row.sha256)]
    except ValueError as error:
        raise refuse(f'has the url {url!r}, which is none ({error})') from error
    files += [RemoteFile(_file_name(beside), url[: -len(files[0].name)] + beside) for beside in family.beside]
    if any(not _NAME.fullmatch(file.name) for file in files):
        raise refuse(f'has files whose names cannot be kept: {[file.name for file in files]}')
    return Entry(
        name,
        family.family,
        family.task,
        tuple(files),
        family.converter,
        family.licence,
        licence.permissive,
        licence.note,
        family.page,
        family.measured,
        dict(zip(family.metrics, row.values, strict=True)),
        family.config,
        row.size,
    )


def _absolute(url: str, path: Path) -> str:
    """Return an address as it is, and a path as one that does not depend on the working directory."""
    return url if is_web_address(url) else str((path.parent / url).absolute())


def _file_name(url: str) -> str:
    return Path(urlsplit(url).path).name


def list_entries() -> dict[str, Entry]:
    """Return all entries by name: detkit's, and those of the user's tables, which replace detkit's of the same name.

    Raises:
        ConfigError: a table that ``DETKIT_ZOO_FILE`` names is missing or wrong.
    """
    entries = dict(_own_entries())
    for path in filter(None, os.environ.get(ENTRIES_VARIABLE, '').split(os.pathsep)):
        entries |= read_entries(os.path.expanduser(path))
    return entries


@lru_cache(maxsize=1)
def _own_entries() -> dict[str, Entry]:
    return read_entries(_OWN)


def find_entry(name: str) -> Entry:
    """Return an entry; ``name`` may end in ``.pt``, as ultralytics' users write it.

    Raises:
        ConfigError: there is no such entry; names the nearest ones.
    """
    entries = list_entries()
    entry = entries.get(name) or entries.get(name.removesuffix('.pt'))
    if entry is None:
        raise ConfigError(f'there are no weights named {name!r}.{nearest(name, entries)} `detkit zoo list` shows all')
    return entry
