import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from detkit.analysis.html_page import Cell, HtmlPage


class Reader(HTMLParser):
    """Checks that elements close in order, and gathers cells and addresses."""

    VOID = {'meta', 'img', 'link', 'br'}

    def __init__(self):
        super().__init__()
        self.open, self.values, self.texts, self.ids, self.addresses = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes['id']] if 'id' in attributes else []
        self.addresses += [v for k, v in attributes.items() if k in ('src', 'href', 'xlink:href') and v[0] != '#']
        if tag == 'td':
            self.values.append(attributes['data-value'])
            self.texts.append('')
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if 'td' in self.open:
            self.texts[-1] += data


def chart() -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.add_subplot().plot([1, 2, 3], [3, 1, 2])
    return figure


def written(tmp_path) -> str:
    page = HtmlPage('A < B & "C"', 'What <script>alert(1)</script> says.')
    page.heading('Figures')
    page.table(
        ['model', 'mAP', 'n'],
        [['a<b>', 0.12345, 1200], ['c', float('nan'), None], [Cell('d', 'd'), Cell('+.5 (.1 to .9)', 0.5, 'good'), 3]],
        caption='all',
    )
    page.chart(chart(), 'first')
    page.chart(chart(), 'second')
    page.charts([(chart(), 'left'), (chart(), 'right')])
    page.pictures([(np.full((10, 20, 3), (200, 100, 50), np.uint8), 'x.jpg & y')])
    page.code('python <tool>')
    page.save(tmp_path / 'deep' / 'page.html')
    return (tmp_path / 'deep' / 'page.html').read_text(encoding='utf-8')


def test_page_is_sound_and_needs_nothing_else(tmp_path):
    text = written(tmp_path)
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids)) and reader.ids
    assert all(address.startswith('data:') for address in reader.addresses) and reader.addresses
    assert '<script>alert' not in text and text.count('<script>') == 1
    for reference in re.findall(r'url\(#([^)]+)\)', text):
        assert reference in reader.ids


def test_cells(tmp_path):
    reader = Reader()
    reader.feed(written(tmp_path))
    assert reader.texts == ['a<b>', '0.123', '1,200', 'c', '–', '–', 'd', '+.5 (.1 to .9)', '3']
    assert reader.values == ['a<b>', '0.12345', '1200', 'c', 'nan', 'nan', 'd', '0.5', '3']


def test_the_same_report_is_the_same_file(tmp_path):
    assert written(tmp_path / 'one') == written(tmp_path / 'two')


def test_pictures_keep_their_colours(tmp_path):
    data = re.search(r'base64,([^"]+)', written(tmp_path)).group(1)
    img = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert img.shape == (10, 20, 3)
    np.testing.assert_allclose(img.mean((0, 1)), (200, 100, 50), atol=4)


def test_rows_have_as_many_cells_as_there_are_columns():
    with pytest.raises(ValueError, match='1 cells in a table of 2'):
        HtmlPage('x').table(['a', 'b'], [['only one']])
