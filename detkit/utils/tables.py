"""Tables as text."""

from __future__ import annotations

from collections.abc import Sequence

from terminaltables import AsciiTable, GithubFlavoredMarkdownTable


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1, markdown: bool = False) -> str:
    """Return a table; floats are written with three digits behind the point.

    Args:
        header: titles of the columns.
        rows: a cell for each column.
        left: the first so many columns are aligned on the left, the others on the right.
        markdown: write it for a Markdown file.
    """
    cells = [[f'{cell:.3f}' if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    table = (GithubFlavoredMarkdownTable if markdown else AsciiTable)([list(header), *cells])
    table.justify_columns = {column: 'right' for column in range(left, len(header))}
    return table.table
