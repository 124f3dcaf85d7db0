"""The json of ``run_all.py``, which is checked when it is read, and the page that its tables are written to."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from comparison import NUMBER_FORMATS, comparisons_of, is_number

from detkit.utils.errors import nearest
from detkit.utils.files import write_text

START, END = '<!-- measured: start -->', '<!-- measured: end -->'
_KEYS = ('machine', 'peaks', 'times', 'scripts', 'failed')
# Measurements that differ in one of these are of two machines, and are not put into one table.
_SAME = ('processor', 'cores', 'python', 'versions')


def read_found(path: Path, names: Collection[str]) -> dict[str, Any]:
    """Return what ``--json`` of ``run_all.py`` wrote, every part of which is checked.

    Args:
        path: the file.
        names: the names of all scripts.

    Raises:
        SystemExit: it cannot be read, or it holds something else; the text names the file, the key and what is wrong.
    """
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise SystemExit(f'{path} cannot be read: {error}') from error
    missing = set(_KEYS) - set(found if isinstance(found, dict) else ())
    if missing:
        raise SystemExit(f'{path} was not written by --json of this script: it has no {", ".join(sorted(missing))}')
    try:
        _check(found, names)
    except ValueError as error:
        raise SystemExit(f'{path} is not as run_all.py writes it, correct it or measure again: {error}') from error
    return found


def _check(found: Mapping[str, Any], names: Collection[str]) -> None:
    for key in found:
        if key not in _KEYS:
            raise ValueError(f'there is no key {key!r}; the keys are {", ".join(_KEYS)}')
    for key in _KEYS:
        if not isinstance(found[key], dict):
            raise ValueError(f'{key} must be an object')
    machine = found['machine']
    for key in ('processor', 'cores', 'load before', 'python', 'versions'):
        if key not in machine:
            raise ValueError(f'machine has no {key}')
    _check_texts(machine['versions'], 'machine.versions')
    peaks = found['peaks']
    for key in peaks.keys() | {'float32'}:
        if key not in NUMBER_FORMATS:
            raise ValueError(f'peaks: there is no number format {key!r}; there are {", ".join(NUMBER_FORMATS)}')
        if not is_number(peak := peaks.get(key)) or peak <= 0:
            raise ValueError(f'peaks.{key} must be a number above 0 of operations a second, not {peak!r}')
    for key in ('times', 'scripts', 'failed'):
        for name in found[key]:
            if name not in names:
                raise ValueError(f'{key}: there is no script {name!r}.{nearest(name, names)}')
    for key in ('times', 'failed'):
        _check_texts(found[key], key)
    for name, entries in found['scripts'].items():
        try:
            comparisons = comparisons_of(entries)
        except ValueError as error:
            raise ValueError(f'scripts.{name}: {error}') from error
        for each in comparisons:
            if each.work and each.number_format not in peaks:
                raise ValueError(f'peaks has no {each.number_format}, which scripts.{name} computes in')
    if found['times'].keys() != found['scripts'].keys():
        odd = sorted(found['times'].keys() ^ found['scripts'].keys())
        raise ValueError(f'times and scripts must have the same names, but {", ".join(odd)} is in one of them alone')


def _check_texts(values: object, key: str) -> None:
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError(f'{key} must be an object of texts')


def check_same_machine(path: Path, kept: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Check that what is kept was measured on a machine like the one here, as one header is printed for both.

    Raises:
        SystemExit: it was not; the text says what differs.
    """
    differing = [f'{key} {kept[key]}, here {here[key]}' for key in _SAME if kept[key] != here[key]]
    if differing:
        raise SystemExit(f'--keep {path} was measured elsewhere ({"; ".join(differing)}): measure all of it again')


def split_page(path: Path) -> tuple[str, str]:
    """Return what a page holds before and after its tables, without the marks.

    Raises:
        SystemExit: it cannot be read, or has not each of the marks once, in their order.
    """
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, ValueError) as error:
        raise SystemExit(f'--docs {path} cannot be read: {error}') from error
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise SystemExit(f'--docs {path} must have a line {START}, and later a line {END}, between which the tables go')
    return text.partition(START)[0], text.partition(END)[2]


def write_page(path: Path, table: str) -> None:
    """Put a table, which has the marks around it, into a page instead of the one that is there."""
    before, after = split_page(path)
    write_text(path, before + table + after)
