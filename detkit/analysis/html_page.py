"""``HtmlPage``: a report as one file that opens without a network: sortable tables, charts, pictures."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

_JPEG_QUALITY = 85
_NO_METADATA = dict.fromkeys(('Date', 'Creator', 'Format', 'Type'))  # of a chart

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 76rem; background: #fff; color: #1c2430;
       font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .2rem 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem; padding-top: .7rem; border-top: 1px solid #d9dee5; }
h3 { font-size: 1.02rem; margin: 1.4rem 0 .4rem; }
p, ul { max-width: 48rem; margin: .4rem 0 .8rem; }
ul { padding-left: 1.2rem; }
li { overflow-wrap: anywhere; margin: .2rem 0; }
.note { color: #55606e; }
.wide { overflow-x: auto; margin: .6rem 0 1.2rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #55606e; padding: 0 0 .35rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #e3e7ec; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td.text, th.text { text-align: left; }
thead th { border-bottom: 2px solid #9aa5b1; position: relative; }
thead button { all: unset; cursor: pointer; }
thead button:focus-visible { outline: 2px solid #0072b2; outline-offset: 2px; }
thead button::after { content: ' \\2195'; color: #9aa5b1; }
th[aria-sort=ascending] button::after { content: ' \\2191'; color: #1c2430; }
th[aria-sort=descending] button::after { content: ' \\2193'; color: #1c2430; }
tbody tr:hover { background: #f4f7fa; }
td.good { color: #00664a; font-weight: 600; }
td.bad { color: #a33a00; font-weight: 600; }
td.wrap { white-space: normal; min-width: 14rem; overflow-wrap: anywhere; }
figure { margin: .6rem 0 1.2rem; }
figure svg, figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: #55606e; font-size: .88rem; margin-top: .25rem; overflow-wrap: anywhere; }
.pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); }
.pictures figure { margin: 0; }
pre { background: #f4f7fa; padding: .7rem; overflow-x: auto; font-size: .84rem; }
"""

_SCRIPT = """
document.querySelectorAll('thead button').forEach(button => button.addEventListener('click', () => {
  const head = button.parentElement, body = head.closest('table').tBodies[0];
  const place = Array.from(head.parentElement.children).indexOf(head);
  // The first click puts the largest number or the first word on top.
  const sorted = head.getAttribute('aria-sort'), numbers = !head.classList.contains('text');
  const down = sorted ? sorted === 'ascending' : numbers;
  head.parentElement.querySelectorAll('th').forEach(other => other.removeAttribute('aria-sort'));
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  const value = row => { const v = row.children[place].dataset.value; return numbers ? parseFloat(v) : v; };
  const rows = Array.from(body.rows), sign = down ? -1 : 1;
  rows.sort((a, b) => {
    const x = value(a), y = value(b);
    if (numbers && (isNaN(x) || isNaN(y))) return isNaN(x) - isNaN(y);  // what has no value stays at the end
    return sign * (numbers ? x - y : x.localeCompare(y));
  });
  rows.forEach(row => body.appendChild(row));
}));
"""


@dataclass(frozen=True)
class Cell:
    """A table's cell whose text is not simply its value.

    Attributes:
        text: what is read.
        value: what is sorted by; the text when None.
        mark: 'good', 'bad', 'wrap' (long text, broken over lines) or ''.
    """

    text: str
    value: float | str | None = None
    mark: str = ''


class HtmlPage:
    """Collects parts from top to bottom; ``save`` writes them with all that they need in one file.

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
        """A paragraph; a note is set paler."""
        self._parts.append(f'<p{" class=note" if note else ""}>{escape(text)}</p>')

    def list(self, lines: Iterable[str]) -> None:
        """Sentences, each behind a bullet."""
        items = '\n'.join(f'<li>{escape(line)}</li>' for line in lines)
        self._parts.append(f'<ul>\n{items}\n</ul>')

    def code(self, text: str) -> None:
        """Lines as they are, such as a command."""
        self._parts.append(f'<pre>{escape(text)}</pre>')

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[Cell | str | float | int | None]],
        caption: str = '',
        digits: int = 3,
    ) -> None:
        """A table whose columns sort when their names are clicked.

        Args:
            columns: names.
            rows: cells; a float is shown with so many digits behind the point, None and nan as a dash.
            caption: a line above.
            digits: of floats.

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
        """A matplotlib figure, drawn as lines and text that stay sharp; the caption is also its spoken name."""
        self._parts.append(self._drawn(figure, caption))

    def charts(self, charts: Iterable[tuple[Figure, str]]) -> None:
        """Small matplotlib figures with captions, as many beside each other as there is room for.

        Four inches wide ones stay legible on a phone.
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
        """Pictures with captions, as many beside each other as there is room for.

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
        """Writes the page; its folder is made."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        body = '\n'.join(self._parts)
        path.write_text(
            '<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n'
            '<meta name=viewport content="width=device-width, initial-scale=1">\n'
            f'<title>{escape(self.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n'
            f'<script>{_SCRIPT}</script>\n</body>\n</html>\n',
            encoding='utf-8',
        )


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
