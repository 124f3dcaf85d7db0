"""Reports as one HTML file that needs no network: sortable tables, charts, pictures."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from detkit.utils.files import write_text

_JPEG_QUALITY = 85
_NO_METADATA = dict.fromkeys(('Date', 'Creator', 'Format', 'Type'))  # of a chart


@dataclass(frozen=True)
class Cell:
    """A cell of a table whose text differs from its value; a table for the console shows the text.

    Attributes:
        text: the text shown.
        value: the value to sort by; the text if None.
        mark: 'good', 'bad', 'wrap' (long text, broken over lines) or ''.
    """

    text: str
    value: float | str | None = None
    mark: str = ''

    def __str__(self) -> str:
        return self.text

    @classmethod
    def wrapped(cls, text: str) -> Cell:
        """Return the cell of a long text."""
        return cls(text, text, 'wrap')


class HtmlPage:
    """A page that is built from top to bottom; ``save`` writes it with its style and script as one file.

    Args:
        title: heading of the page.
        introduction: a paragraph below it.
    """

    def __init__(self, title: str, introduction: str = '') -> None:
        self.title = title
        self._parts = [f'<h1>{escape(title)}</h1>']
        if introduction:
            self.text(introduction)

    def heading(self, text: str, level: int = 2) -> None:
        self._parts.append(f'<h{level}>{escape(text)}</h{level}>')

    def text(self, text: str, note: bool = False) -> None:
        """Add a paragraph; a note is paler."""
        self._parts.append(f'<p{" class=note" if note else ""}>{escape(text)}</p>')

    def list(self, lines: Iterable[str]) -> None:
        """Add a bulleted list of sentences."""
        items = '\n'.join(f'<li>{escape(line)}</li>' for line in lines)
        self._parts.append(f'<ul>\n{items}\n</ul>')

    def code(self, text: str) -> None:
        """Add lines in a fixed-width font, such as a command."""
        self._parts.append(f'<pre>{escape(text)}</pre>')

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[Cell | str | float | int | None]],
        caption: str = '',
        digits: int = 3,
    ) -> None:
        """Add a table whose columns are sorted by a click on their names.

        Args:
            columns: names.
            rows: cells; floats are rounded to ``digits``, None and nan are shown as a dash.
            caption: a line above.
            digits: number of decimals of a float.

        Raises:
            ValueError: a row has more or fewer cells than there are columns.
        """
        rows = [[_as_cell(value, digits) for value in row] for row in rows]
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f'a row of {len(row)} cells in a table of {len(columns)} columns')
        is_text = [any(isinstance(row[i].value, str) for row in rows) for i in range(len(columns))]
        head = ''.join(
            f'<th{" class=text" if text else ""} scope=col><button>{escape(name)}</button></th>'
            for name, text in zip(columns, is_text, strict=True)
        )
        body = []
        for row in rows:
            cells = []
            for cell, text in zip(row, is_text, strict=True):
                value = cell.text if text and cell.value is None else 'nan' if cell.value is None else cell.value
                classes = ' '.join(filter(None, ('text' if text else '', cell.mark)))
                cells.append(f'<td class="{classes}" data-value="{escape(str(value))}">{escape(cell.text)}</td>')
            body.append(f'<tr>{"".join(cells)}</tr>')
        title = f'<caption>{escape(caption)}</caption>' if caption else ''
        lines = '\n'.join(body)
        self._parts.append(
            f'<div class=wide><table>{title}<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>'
        )

    def chart(self, figure: Figure, caption: str) -> None:
        """Add a matplotlib figure as SVG; the caption is also its label for screen readers."""
        self._parts.append(self._drawn(figure, caption))

    def charts(self, charts: Iterable[tuple[Figure, str]]) -> None:
        """Add small matplotlib figures with captions, as many in a row as there is room for.

        Figures that are four inches wide are legible on a phone.
        """
        drawn = [self._drawn(figure, caption, f'-{number}') for number, (figure, caption) in enumerate(charts)]
        self._parts.append('<div class=pictures>\n' + '\n'.join(drawn) + '\n</div>')

    def _drawn(self, figure: Figure, caption: str, which: str = '') -> str:
        name = f'{len(self._parts)}{which}'
        file = io.StringIO()
        # Text stays text; ids are made from the content, so that the same report is the same file.
        with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': f'{self.title}{name}'}):
            figure.savefig(file, format='svg', bbox_inches='tight', metadata=_NO_METADATA)
        svg = file.getvalue()
        svg = svg[svg.index('<svg') :]
        # Two charts in one page must not share ids, which clip paths are looked up by.
        svg = re.sub(r'(\bid="|url\(#|href="#)', rf'\g<1>c{name}-', svg)
        svg = svg.replace('<svg', f'<svg role="img" aria-label="{escape(caption)}"', 1)
        return f'<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>'

    def pictures(self, pictures: Iterable[tuple[np.ndarray, str]]) -> None:
        """Add pictures with captions, as many in a row as there is room for.

        Args:
            pictures: ``(h, w, 3)`` uint8 RGB, and a caption each.
        """
        figures = []
        for img, caption in pictures:
            kept, data = cv2.imencode('.jpg', img[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            if not kept:
                raise ValueError(f'a picture of shape {img.shape} cannot be written as JPEG')
            source = base64.b64encode(data.tobytes()).decode('ascii')
            figures.append(
                f'<figure><img loading=lazy width={img.shape[1]} height={img.shape[0]} '
                f'alt="{escape(caption)}" src="data:image/jpeg;base64,{source}">'
                f'<figcaption>{escape(caption)}</figcaption></figure>'
            )
        joined = '\n'.join(figures)
        self._parts.append(f'<div class=pictures>\n{joined}\n</div>')

    def save(self, path: str | Path) -> None:
        """Write the page, and make its folder if need be."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        body = '\n'.join(self._parts)
        write_text(
            path,
            '<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n'
            '<meta name=viewport content="width=device-width, initial-scale=1">\n'
            f'<title>{escape(self.title)}</title>\n<style>\n{_asset("page.css")}</style>\n</head>\n<body>\n{body}\n'
            f'<script>\n{_asset("page.js")}</script>\n</body>\n</html>\n',
        )


def _asset(name: str) -> str:
    return files('detkit.analysis').joinpath('assets', name).read_text(encoding='utf-8')


def _as_cell(value: Cell | str | float | int | None, digits: int) -> Cell:
    if isinstance(value, Cell):
        return value
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return Cell('–')
    if isinstance(value, str):
        return Cell(value, value)
    if isinstance(value, float | np.floating):
        return Cell(f'{value:.{digits}f}', float(value))
    return Cell(f'{value:,}', int(value))
