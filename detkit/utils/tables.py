"""Tables as text, and files of tables and of json."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from terminaltables import AsciiTable, GithubFlavoredMarkdownTable

from detkit.utils.errors import DataError
from detkit.utils.files import write_text
from detkit.utils.printable import printable
from detkit.utils.text_files import read_text

_LINE_ENDS = re.compile('[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]')  # at which a table would break, beside the line feed


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], left: Collection[int] = (0,), markdown: bool = False
) -> str:
    """Return a table; floats are written with three digits behind the point.

    Args:
        header: titles of the columns.
        rows: a cell for each column.
        left: indices of the columns that are aligned on the left; the others are aligned on the right.
        markdown: write it for a Markdown file.
    """
    cells = [[f'{cell:.3f}' if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    cells = [[printable(_LINE_ENDS.sub(' ', cell)) for cell in row] for row in [list(header), *cells]]
    table = (GithubFlavoredMarkdownTable if markdown else AsciiTable)(cells)
    table.justify_columns = {column: 'right' for column in range(len(header)) if column not in left}
    return table.table


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV file, and make its folder if need be.

    Args:
        path: the file.
        header: names of the columns.
        rows: a value for each column; None is written as an empty cell.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    text = StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_json(path: str | Path, content: Any) -> None:
    """Write a json file, and make its folder if need be."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content))


def read_table(path: str | Path) -> tuple[list[str], list[dict[str, str]]]:
    """Read a CSV file, of which anything may be damaged.

    Returns:
        The names of its columns, and its rows. Cells that are missing are left out, and so are those behind the last
        column.

    Raises:
        DataError: it is no text in UTF-8, or no table.
    """
    reader = csv.DictReader(StringIO(read_text(path, 'table'), newline=''))
    try:
        columns = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        rows = [{name: value for name, value in row.items() if name and isinstance(value, str)} for row in reader]
    except csv.Error as error:
        raise DataError(f"'{path}' is no table in CSV ({error}); move it away, or correct it") from error
    return columns, rows
