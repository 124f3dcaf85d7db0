"""Damaged logs and tables of a run: read, resumed over, or refused with a sentence."""

import csv
import io
import json

import pytest
from fuzz_strategies import AMOUNTS, damaged, encoded, odd_words, replaced, run_fuzz, values
from hypothesis import strategies as st

from detkit.analysis.runs.run_logs import choose_names, logs_table, read_run
from detkit.engine.hooks.scalar_log_hook import _append_rows
from detkit.utils.files import keep_lines
from detkit.utils.tables import read_table

ROW = {'epoch': 1, 'iter': 10, 'time': 1.5, 'lr/weight': 0.01, 'train/loss_box': 0.5, 'coco/bbox_mAP': 0.25}
HEADER = ['epoch', 'time', 'train/loss_box', 'lr/weight', 'metrics/coco/bbox_mAP']

rows = replaced(ROW, values).map(lambda row: json.dumps(row)) | values.map(json.dumps)
logs = st.lists(rows | st.just(json.dumps(ROW)), max_size=4).map('\n'.join)
cells = st.one_of(st.integers(0, 3).map(str), odd_words, st.just('0.5'), st.just('x' * 200_000))
names = st.sampled_from([*HEADER, '', 'epoch ', 'split', 'line', 'path', '\0'])


@st.composite
def tables(draw: st.DrawFn) -> str:
    header = draw(st.just(HEADER) | st.lists(names, max_size=6))
    lines = draw(st.lists(st.lists(cells, max_size=6) | st.just(['1', '2.5', '0.5', '0.1', '0.3']), max_size=3))
    file = io.StringIO()
    csv.writer(file, lineterminator='\n', escapechar='\\').writerows([header, *lines])
    return file.getvalue()


@pytest.mark.parametrize('cases', AMOUNTS)
def test_logs(tmp_path, cases):
    file = tmp_path / 'scalars.json'

    def check(data: bytes) -> None:
        file.write_bytes(data)
        run = read_run(file, 'iter')
        assert logs_table([run], choose_names([run]), 'iter')

    run_fuzz(cases, encoded(logs) | damaged(logs.map(str.encode)), check)


@pytest.mark.parametrize('cases', AMOUNTS)
def test_tables(tmp_path, cases):
    file = tmp_path / 'results.csv'

    def check(data: bytes) -> None:
        file.write_bytes(data)
        columns, found = read_table(file)
        assert all(set(row) <= set(columns) for row in found)
        run = read_run(file)
        assert logs_table([run], choose_names([run]))

    run_fuzz(cases, encoded(tables()) | damaged(tables().map(lambda text: text.encode('utf-8', 'replace'))), check)


@pytest.mark.parametrize('cases', AMOUNTS)
def test_a_resumed_run_goes_on_in_them(tmp_path, cases):
    log, table = tmp_path / 'scalars.json', tmp_path / 'results.csv'

    def check(drawn: tuple[bytes, bytes]) -> None:
        log.write_bytes(drawn[0])
        table.write_bytes(drawn[1])
        keep_lines(log, lambda line: json.loads(line)['iter'] <= 5)
        keep_lines(table, lambda line: not line[:1].isdigit() or int(line.split(',')[0]) <= 2)
        assert log.read_bytes()[-1:] in (b'', b'\n')
        _append_rows(table, [{'epoch': 7, 'new': '0.5'}])
        columns, found = read_table(table)
        assert 'new' in columns and found[-1]['epoch'] == '7'

    run_fuzz(cases, st.tuples(damaged(logs.map(str.encode)), damaged(tables().map(str.encode))), check)


def test_a_name_with_an_odd_line_end_is_kept_by_a_resumed_run(tmp_path):
    text = 'epoch,train/\x0bbox\u2028,c\n1,0.5,1\n2,0.4,1\n3,0.'
    (tmp_path / 'results.csv').write_bytes(text.encode())
    keep_lines(tmp_path / 'results.csv', lambda line: not line[:1].isdigit() or int(line[:1]) <= 1)
    assert (tmp_path / 'results.csv').read_bytes().decode() == text[: text.index('2,0.4')]


def test_a_name_with_an_odd_line_end_breaks_no_table(tmp_path):
    (tmp_path / 'results.csv').write_text('epoch,train/\x0bbox\n1,0.5\n')
    run = read_run(tmp_path / 'results.csv')
    assert 'train/ box' in logs_table([run], choose_names([run]))
