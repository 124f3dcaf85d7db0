"""Files are replaced as a whole; what is no file is written as it is."""

import os
import threading
from pathlib import Path

import pytest

from detkit.utils import files
from detkit.utils.files import replacing, write_text


def test_a_file_is_replaced_and_a_new_one_is_made(tmp_path):
    path = tmp_path / 'a.txt'
    write_text(path, 'one')
    other = tmp_path / 'link'
    os.link(path, other)
    write_text(path, 'two')
    assert (path.read_text(), other.read_text()) == ('two', 'one') and len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='there are no named pipes')
def test_a_pipe_is_written_into(tmp_path):
    pipe, link, read = tmp_path / 'pipe', tmp_path / 'link', []
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    with pytest.raises(OSError, match='No such device or address') as caught:  # nobody reads
        write_text(pipe, 'lost')
    assert caught.value.filename == str(pipe)
    for name in (pipe, link):
        reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
        number = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # so that there is a reader from now on
        reader.start()
        write_text(name, 'x' * 200_000)  # more than a pipe holds
        reader.join()
        os.close(number)
    assert [len(data) for data in read] == [200_000] * 2
    assert pipe.is_fifo() and link.is_symlink() and len(list(tmp_path.iterdir())) == 2


def test_links_to_open_files_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(files, '_STREAM_FOLDERS', (str(tmp_path / 'dev'),))
    log, stdout = tmp_path / 'log', tmp_path / 'dev' / 'stdout'
    stdout.parent.mkdir()
    stdout.symlink_to(log)
    log.write_text('before\n')
    write_text(stdout, 'json')
    assert stdout.is_symlink() and log.read_text() == 'before\njson'


@pytest.mark.skipif(not Path('/dev/full').is_char_device(), reason='there is no device that is always full')
def test_a_device_that_is_full_is_named(tmp_path):
    link = tmp_path / 'full'  # the device itself would be replaced if this did not work
    link.symlink_to('/dev/full')
    with pytest.raises(OSError, match='No space left') as caught, replacing(link) as file:
        file.write(b'x' * 100)
    assert caught.value.filename == str(link) and link.is_symlink()
