"""Files that ran before are not run again, and nobody can tell by the values."""

import pytest

from detkit.config.execute import execute
from detkit.config.source import read_source
from detkit.utils.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write(**texts):
        for name, text in texts.items():
            (tmp_path / f'{name}.py').write_text(text)
        return tmp_path / 'leaf.py'

    return write


@pytest.fixture
def runs(monkeypatch):
    """The names of the files that run, in turn."""
    from detkit.config import execute as module

    names, run = [], module.run_file

    def noted(source, *rest):
        names.append(source.path.stem)
        return run(source, *rest)

    monkeypatch.setattr(module, 'run_file', noted)
    return names


def test_what_cannot_differ_does_not_run_again(write, runs):
    path = write(
        base='a = 1\nb = dict(x=a)\n', other='c = 3\n', leaf="_base_ = ['base.py', 'other.py']\nd = _base_.c\n"
    )
    first = execute(path, {})
    assert runs == ['base', 'other', 'leaf']
    first.values['b']['x'] = 'changed'
    first.origins.set(('b',), first.origins.find(('d',)))
    again = execute(path, {})
    assert again.values == {'a': 1, 'b': {'x': 1}, 'c': 3, 'd': 3} and runs == ['base', 'other', 'leaf']
    assert again.origins.find(('b', 'x')).file.name == 'base.py' and again.files == first.files
    assert execute(path, {'nothing': 5}).values == again.values and len(runs) == 3
    changed = execute(path, {'a': 2})
    assert changed.values['b'] == {'x': 2} and runs[3:] == ['base', 'leaf']
    assert execute(path, {'a': 1}).values == again.values and execute(path, {'a': True}).values['b']['x'] is True


def test_a_file_that_has_changed_runs_again(write):
    path = write(base='a = 1\n', leaf="_base_ = 'base.py'\nb = _base_.a + 1\n")
    assert execute(path, {}).values == {'a': 1, 'b': 2}
    write(base='a = 5\n')
    assert execute(path, {}).values == {'a': 5, 'b': 6}
    path.with_name('base.py').unlink()
    with pytest.raises(ConfigError, match=r'there is no config file .*base.py'):
        execute(path, {})


def test_what_may_differ_runs_again(write, monkeypatch):
    path = write(base="import os\na = os.environ['A_SETTING']\n", leaf="_base_ = 'base.py'\nb = _base_.a\n")
    for value in 'xy':
        monkeypatch.setenv('A_SETTING', value)
        assert execute(path, {}).values == {'a': value, 'b': value}


@pytest.mark.parametrize(
    ('text', 'closed'),
    [
        ('a = dict(b=[max(1, 2)])', True),
        ('from detkit.datasets.class_names import COCO80\na = len(COCO80)', True),
        ("a = open('x').read()", False),
        ('import random', False),
        ("a = 'b'.upper()", False),
        ('from os import environ', False),
        ('from . import x', False),
    ],
)
def test_files_that_are_closed(text, closed, tmp_path):
    (tmp_path / 'a.py').write_text(text)
    assert read_source(tmp_path / 'a.py').is_closed is closed


def test_an_option_that_replaces_a_value_is_named_the_second_time_too(write):
    path = write(leaf="a = 3\nb = a * 2 if a < 10 else a['x']\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r'a = 20 \(.*in place of 3|a = 20'):
            execute(path, {'a': 20})
