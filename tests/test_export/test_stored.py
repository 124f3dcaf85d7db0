"""Descriptions behind exported files."""

import time
import zipfile

import pytest

from detkit.export.stored import add_text, archived, archived_text, stored_text


@pytest.mark.parametrize('seconds', [0.0, 1.7e9, 2**33])
def test_the_clock_does_not_matter(seconds, tmp_path, monkeypatch):
    """A machine without a battery begins in 1970, which an archive cannot state; nor can it a year from 2108."""
    expected = archived('{"a": "ü"}')
    monkeypatch.setattr(time, 'time', lambda: seconds)
    path = tmp_path / 'network.bin'
    path.write_bytes(b'network' + archived('{"a": "ü"}'))
    assert path.read_bytes() == b'network' + expected and archived_text(path) == '{"a": "ü"}'
    with zipfile.ZipFile(path, 'a') as archive:
        add_text(archive, 'root/extra.json', 'more')
    assert stored_text(path, '/extra.json') == 'more'
