"""Addresses with a user and a password: the server is given them, and nobody else sees them."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from file_server import FileServer, Served
from PIL import Image

from detkit.inference.sources import find_images
from detkit.inference.video import Video
from detkit.sample_data import prepare
from detkit.utils.addresses import split_user, without_password
from detkit.utils.download import DownloadError, download, download_resumed
from detkit.utils.errors import CheckpointError, DataError
from detkit.zoo import fetch
from detkit.zoo.table import describe

SECRET = 'pa%20ss:@w'  # as typed; the password is 'pa ss:@w'
SENT = f'Basic {base64.b64encode(b"me:pa ss:@w").decode()}'


def protected(server: FileServer) -> str:
    return server.url.replace('://', f'://me:{SECRET}@')


@pytest.mark.parametrize(
    ('address', 'shown'),
    [
        ('rtsp://admin:secret@10.0.0.5/live?x=a@b', 'rtsp://***@10.0.0.5/live?x=a@b'),
        ('rtsp://admin:p@ss@[::1]:554/live', 'rtsp://***@[::1]:554/live'),
        ('https://token@host/a', 'https://***@host/a'),
        ('https://host/a@b:c', 'https://host/a@b:c'),
        ('photos/a@b.png', 'photos/a@b.png'),
        ("no answer of 'http://a:b@c/d', nor of http://e:f@g.", "no answer of 'http://***@c/d', nor of http://***@g."),
    ],
)
def test_what_is_shown(address, shown):
    assert without_password(address) == shown


def test_parts_of_an_address():
    assert split_user(f'http://me:{SECRET}@host/a@b') == ('http://host/a@b', ('me', 'pa ss:@w'))
    assert split_user('http://me@host/a') == ('http://host/a', ('me', ''))
    assert split_user('http://host/a@b') == ('http://host/a@b', None)


def test_a_server_is_given_them_and_no_other_one(server, tmp_path):
    server.files['/x.bin'] = Served(b'body')
    download(f'{protected(server)}/x.bin', tmp_path / 'x.bin', 100)
    assert (tmp_path / 'x.bin').read_bytes() == b'body'
    other = server.url.replace('127.0.0.1', 'localhost')
    server.files['/moved.bin'] = Served(redirect=f'{other}/x.bin')
    download(f'{protected(server)}/moved.bin', tmp_path / 'moved.bin', 100)
    assert server.passwords == [SENT, SENT, None]


def test_a_part_is_gone_on_with_and_its_note_has_no_password(server, tmp_path):
    body = bytes(range(256)) * 2000
    server.files['/x.bin'] = Served(body, etag='"a"', breaks=[100_000] * 5)
    path = tmp_path / 'x.bin'
    with pytest.raises(DownloadError):
        download_resumed(f'{protected(server)}/x.bin', path, 10**6)
    note = json.loads(path.with_name('x.bin.part.json').read_text())
    assert note['url'] == f'{server.url}/x.bin'
    download_resumed(f'{protected(server)}/x.bin', path, 10**6)
    assert path.read_bytes() == body and set(server.passwords) == {SENT}
    assert server.requests[-1][1] is not None  # a part of the file was asked for


def test_errors_and_lines_do_not_show_them(server, tmp_path, monkeypatch, capsys, scenes_drawn_once):
    monkeypatch.setenv('DETKIT_ZOO_URL', protected(server))
    with pytest.raises(CheckpointError, match=r'from http://\*\*\*@127') as error:
        fetch('yolov8n')
    assert 'pa%20ss' not in str(error.value) and 'pa%20ss' not in describe('yolov8n')
    prepare('coco8-seg', tmp_path / 'coco8', url=f'{protected(server)}/coco8.zip')
    assert '***@' in (line := capsys.readouterr().out) and 'pa%20ss' not in line
    assert set(server.passwords) == {SENT}


def test_an_image_at_an_address(server, tmp_path):
    Image.fromarray(np.full((4, 6, 3), 7, np.uint8)).save(tmp_path / 'a.png')
    server.files['/a.png'] = Served((tmp_path / 'a.png').read_bytes())
    (image,) = find_images(f'{protected(server)}/a.png')
    assert image.read().shape == (4, 6, 3) and server.passwords == [SENT]
    assert image.name == f'{server.url.replace("://", "://***@")}/a.png' and 'pa%20ss' not in repr(image)
    (image,) = find_images(f'{protected(server)}/none.png')
    with pytest.raises(DataError, match=r'^http://\*\*\*@.*/none.png cannot be downloaded: .*404'):
        image.read()


def test_a_video_at_an_address(tmp_path: Path):
    pytest.importorskip('av')
    video = Video('rtsp://admin:secret@127.0.0.1:1/live', timeout=2.0)
    assert video.name == 'rtsp://***@127.0.0.1:1/live' and video.scheme == 'rtsp' and 'secret' not in repr(video)
    with pytest.raises(DataError, match=r'^rtsp://\*\*\*@127.0.0.1:1/live cannot be opened'):
        list(video)
    with pytest.raises(DataError, match=r"'odd://\*\*\*@host/x' is no address"):
        find_images('odd://admin:secret@host/x')
