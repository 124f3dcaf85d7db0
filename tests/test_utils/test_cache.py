"""The folder for what is kept between runs."""

import os
from pathlib import Path

import pytest

from detkit.utils import cache
from detkit.utils.cache import cache_folder
from detkit.utils.errors import ConfigError


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ('DETKIT_CACHE', 'XDG_CACHE_HOME'):
        monkeypatch.delenv(name, raising=False)


def test_variables_name_it(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert cache_folder() == tmp_path / '.cache' / 'detkit'
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert cache_folder() == tmp_path / 'xdg' / 'detkit'
    monkeypatch.setenv('DETKIT_CACHE', '~/own')
    assert cache_folder() == tmp_path / 'own'


@pytest.mark.parametrize('given', ['~', '~/own', '~nobody-of-this-name/own'])
def test_a_home_that_is_not_known_is_refused(monkeypatch, given):
    monkeypatch.setattr(cache.os.path, 'expanduser', lambda path: path)
    monkeypatch.setenv('DETKIT_CACHE', given)
    with pytest.raises(ConfigError, match=f"DETKIT_CACHE is '{given}', but no home folder is known for '~"):
        cache_folder()


def test_a_user_without_a_home_keeps_nothing(monkeypatch):
    monkeypatch.setattr(cache.os.path, 'expanduser', lambda path: path)  # as where HOME and the user are not known
    with pytest.raises(OSError):
        cache_folder().mkdir(parents=True)
    assert not cache_folder().exists() and cache_folder().parent == Path(os.devnull)
