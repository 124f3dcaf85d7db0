"""Progress bars: shown in a terminal while something lasts, and nowhere else."""

import io
import sys

import pytest

from detkit.utils import progress
from detkit.utils.progress import duration_text, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch) -> Terminal:
    """Make standard error a terminal in which every bar is due at once; not in a fixture: pytest sets it again."""
    stream = Terminal()
    monkeypatch.setattr(sys, 'stderr', stream)
    monkeypatch.setattr(progress, '_DELAY', -1.0)
    monkeypatch.setattr(progress.ProgressBar, 'interval', -1.0)
    return stream


def test_a_terminal_shows_title_count_and_time(monkeypatch):
    terminal = open_terminal(monkeypatch)
    assert list(track([3, 4, 5], 'count things')) == [3, 4, 5]
    shown = terminal.getvalue()
    assert 'count things' in shown and '2/3' in shown and 'ETA 0:00' in shown


def test_items_that_are_made_one_by_one_need_a_number(monkeypatch):
    terminal = open_terminal(monkeypatch)
    assert list(track(iter('ab'), 'count', 2)) == ['a', 'b']
    assert '1/2' in terminal.getvalue()
    with pytest.raises(TypeError):
        list(track(iter('ab'), 'count'))


def test_what_is_quick_shows_nothing(monkeypatch):
    terminal = open_terminal(monkeypatch)
    monkeypatch.setattr(progress, '_DELAY', 1e9)
    assert list(track('abc', 'count')) == ['a', 'b', 'c'] and terminal.getvalue() == ''


def test_a_file_and_other_processes_show_nothing(monkeypatch, capsys):
    terminal = open_terminal(monkeypatch)
    monkeypatch.setenv('RANK', '1')
    assert list(track('abc', 'count')) == ['a', 'b', 'c'] and terminal.getvalue() == ''
    monkeypatch.delenv('RANK')
    monkeypatch.setattr(terminal, 'isatty', lambda: False)
    assert list(track('abc', 'count')) == ['a', 'b', 'c'] and terminal.getvalue() == ''
    assert capsys.readouterr().out == ''


def test_the_bar_ends_when_the_work_fails_or_is_left(monkeypatch):
    open_terminal(monkeypatch)
    closed = []
    monkeypatch.setattr(progress.ProgressBar, 'close', lambda self: closed.append(self))
    items = track(range(9), 'count')
    next(items), next(items)
    items.close()
    assert len(closed) == 1


def test_durations():
    assert [duration_text(seconds) for seconds in (5, 75, 3700)] == ['0:05', '1:15', '1:01:40']
