"""The zoo for people: a list, a description of an entry, and the table of the documentation."""

from __future__ import annotations

from collections.abc import Iterable

from detkit.utils.addresses import without_password
from detkit.utils.errors import ConfigError, nearest
from detkit.utils.files import size_text
from detkit.utils.tables import text_table
from detkit.zoo.cache import address_of, cached, entry_folder
from detkit.zoo.entries import Entry, find_entry, list_entries

__all__ = ['describe', 'markdown_table', 'text_list']


def text_list(task: str | None = None, family: str | None = None) -> str:
    """Return a table of the entries, and where detkit keeps them.

    Args:
        task: only those of a task.
        family: only those whose family's name has this in it.

    Raises:
        ConfigError: there are none.
    """
    entries = list_entries()
    tasks = list(dict.fromkeys(entry.task for entry in entries.values()))
    if task is not None and task not in tasks:
        raise ConfigError(f'there is no task {task!r}, only {", ".join(tasks)}.{nearest(task, tasks)}')
    chosen = [
        entry
        for entry in entries.values()
        if task in (None, entry.task) and (family or '').lower() in entry.family.lower()
    ]
    if not chosen:
        families = dict.fromkeys(entry.family for entry in entries.values())
        raise ConfigError(f'there are no such weights; the families are {", ".join(families)}')
    header = ['name', 'family', 'task', 'published', 'licence', 'here']
    rows = [
        [entry.name, entry.family, entry.task, _metrics(entry), entry.licence, 'yes' if cached(entry.name) else '']
        for entry in chosen
    ]
    return (
        f'{text_table(header, rows, left=range(len(header)))}\n'
        f'kept in {entry_folder(chosen[0]).parent}; `detkit zoo show NAME` says more'
    )


def describe(name: str) -> str:
    """Return lines on all that is known about an entry.

    Raises:
        ConfigError: there is no such entry.
    """
    entry = find_entry(name)
    path, lines = cached(name), [f'{entry.name}: {entry.family}, {entry.task}']
    if entry.metrics:
        lines.append(f'published  {_metrics(entry)} ({entry.measured}; {entry.page})')
    elif entry.page:
        lines.append(f'page       {entry.page}')
    lines.append(f'licence    {entry.licence}{f": {entry.licence_note}" if entry.licence_note else ""}')
    if entry.config:
        lines.append(f'config     {entry.config}{f" (size={entry.size})" if entry.size else ""}')
    else:
        lines.append(f'use        model.backbone.weights={entry.name}')
    for file in entry.files:
        size = size_text(file.num_bytes) if file.num_bytes else 'of a size that is not known'
        if file.sha256:
            digest = f'SHA-256 {file.sha256}{"" if len(file.sha256) == 64 else "..."}'
        else:
            digest = 'a digest that is not known: that of the first use counts'
        lines.append(f'file       {without_password(address_of(entry, file) or file.url)}, {size}, {digest}')
    lines.append(f'here       {path or f"no; by hand it goes to {entry_folder(entry) / entry.files[0].name}"}')
    return '\n'.join(lines)


def markdown_table(entries: Iterable[Entry]) -> str:
    """Return the table of the documentation."""
    header = ['name', 'published', 'measured on', 'licence', 'config']
    rows = [
        [f'`{entry.name}`', _metrics(entry), entry.measured, entry.licence, f'`{entry.config}`' if entry.config else '']
        for entry in entries
    ]
    return text_table(header, rows, left=range(len(header)), markdown=True)


def _metrics(entry: Entry) -> str:
    return ', '.join(f'{name} {value:g}' for name, value in entry.metrics.items())
