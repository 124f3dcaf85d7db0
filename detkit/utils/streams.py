"""Files that grow row by row, so that memory does not grow with them; each appears, whole, when its block ends."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from detkit.utils.files import replacing

# Appends rows, dicts by column, to a table; the columns are those of the first call.
AddRows = Callable[[Iterable[Mapping[str, Any]], Iterable[str]], None]


@contextmanager
def json_list(path: str | Path) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Return a function that appends entries to a json file, which is one list, an entry a line.

    Raises:
        OSError: the file cannot be written; an older one of its name is as it was.
    """
    with _text_file(path) as file:
        file.write('[')
        separator = '\n'

        def extend(entries: Iterable[Any]) -> None:
            nonlocal separator
            for entry in entries:
                file.write(f'{separator}{json.dumps(entry)}')
                separator = ',\n'

        yield extend
        file.write('\n]\n')


@contextmanager
def csv_table(path: str | Path) -> Iterator[AddRows]:
    """Return a function that appends rows, dicts by column, to a CSV file; its columns are those of the first call.

    Raises:
        OSError: the file cannot be written; an older one of its name is as it was.
    """
    with _text_file(path) as file:
        writer = csv.writer(file, lineterminator='\n')
        columns: list[str] = []

        def extend(rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> None:
            if not columns:
                columns.extend(names)
                writer.writerow(columns)
            writer.writerows([row.get(column) for column in columns] for row in rows)

        yield extend


@contextmanager
def _text_file(path: str | Path) -> Iterator[TextIOWrapper]:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as raw:
        # A file's name may hold bytes that are no text.
        file = TextIOWrapper(raw, encoding='utf-8', errors='backslashreplace', newline='', write_through=False)
        yield file
        file.flush()
        file.detach()
