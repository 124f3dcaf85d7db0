"""Sample data: found, downloaded or drawn, never half there."""

import http.server
import inspect
import io
import os
import stat
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from processes import Child

from detkit.datasets import YoloTxtDataset
from detkit.datasets.class_names import COCO80
from detkit.registry import SAMPLE_DATASETS
from detkit.sample_data import samples as sample_data
from detkit.utils.download import DownloadError, download, unpack
from detkit.utils.errors import DataError


def make_zip(entries: dict[str, bytes | None] | None = None, prefix: str = 'coco8-seg/') -> bytes:
    """A right archive, with ``entries`` added (name -> content; None removes one)."""
    picture = io.BytesIO()
    Image.new('RGB', (8, 8)).save(picture, 'JPEG')
    content = {}
    for split in ('train', 'val'):
        for i in range(4):
            content[f'{prefix}images/{split}/{i}.jpg'] = picture.getvalue()
            content[f'{prefix}labels/{split}/{i}.txt'] = b'0 0.5 0.5 0.2 0.2\n'
    content.update(entries or {})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def server():
    """Serves ``server.body``; ``length`` is what it claims to be long, ``stall`` makes it wait at the end."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != '/coco8-seg.zip':
                self.send_error(404)
                return
            self.send_response(200)
            length = len(httpd.body) if httpd.length is None else httpd.length
            if length >= 0:
                self.send_header('Content-Length', str(length))
            self.end_headers()
            self.wfile.write(httpd.body)
            self.wfile.flush()
            if httpd.stall:
                httpd.release.wait(10)

        def log_message(self, *args):
            pass

    httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    httpd.daemon_threads = True
    httpd.body, httpd.length, httpd.stall, httpd.release = make_zip(), None, False, threading.Event()
    httpd.url = f'http://127.0.0.1:{httpd.server_port}/coco8-seg.zip'
    threading.Thread(target=httpd.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True).start()
    yield httpd
    httpd.release.set()
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture(autouse=True)
def quick_drawing(monkeypatch):
    """Stands for the real drawing, which takes seconds; ``test_drawn_set_is_a_data_set`` covers that."""

    def render(root: Path) -> None:
        for split in ('train', 'val'):
            for kind in ('images', 'labels'):
                (root / kind / split).mkdir(parents=True)
            (root / 'images' / split / 'drawn.jpg').write_bytes(b'')

    sample = sample_data.SAMPLES['coco8-seg']
    monkeypatch.setitem(sample_data.SAMPLES, 'quick', sample_data.Sample(sample.url, 1_000_000, sample.counts, render))
    monkeypatch.setattr(sample_data, '_announced', set())


@pytest.fixture
def said(capsys):
    """The lines printed since the last call."""
    return lambda: capsys.readouterr().out.splitlines()


def assert_nothing_left(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} - {'.set.lock'} == {'set'}


def test_download(tmp_path, server, said):
    root = tmp_path / 'data' / 'set'
    assert sample_data.prepare('quick', root, server.url) == 'downloaded'
    assert len(list((root / 'images/train').glob('*.jpg'))) == 4 and (root / 'labels/val/3.txt').is_file()
    assert_nothing_left(root.parent)
    assert said() == [f'Sample data quick: downloaded to {root}']
    server.body = b''
    assert sample_data.prepare('quick', root, server.url) == 'present'
    assert said() == []  # said once for a folder


@pytest.mark.parametrize('prefix', ['', 'a/'])
def test_archive_with_or_without_a_top_folder(tmp_path, server, prefix):
    server.body = make_zip(prefix=prefix)
    assert sample_data.prepare('quick', tmp_path / 'set', server.url) == 'downloaded'
    assert (tmp_path / 'set/images/val/0.jpg').is_file()


def test_present_folder_is_used_as_it_is(tmp_path, said):
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set/mine').touch()
    assert sample_data.prepare('quick', tmp_path / 'set', 'http://127.0.0.1:9/x.zip') == 'present'
    assert said() == [f'Sample data quick: found in {tmp_path / "set"}'] and [*os.listdir(tmp_path / 'set')] == ['mine']


def test_empty_folder_is_filled(tmp_path, server):
    (tmp_path / 'set').mkdir()
    assert sample_data.prepare('quick', tmp_path / 'set', server.url) == 'downloaded'


def link_entry() -> bytes:
    buffer = io.BytesIO(make_zip())
    with zipfile.ZipFile(buffer, 'a') as archive:
        entry = zipfile.ZipInfo('coco8-seg/link')
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, '/etc')
    return buffer.getvalue()


@pytest.mark.parametrize(
    ('body', 'why'),
    [
        (make_zip({'../outside.txt': b'x'}), 'points outside'),
        (make_zip({'coco8-seg/../../outside.txt': b'x'}), 'points outside'),
        (make_zip({'/outside.txt': b'x'}), 'points outside'),
        (make_zip({'coco8-seg\\..\\outside.txt': b'x'}), 'points outside'),
        (make_zip({'C:/outside.txt': b'x'}), 'points outside'),
        (link_entry(), 'no plain file'),
        (make_zip({'coco8-seg/big': bytes(1_000_001)}), 'MB'),
        (make_zip({'coco8-seg/images/val/3.jpg': None}), '3 images in images/val, where 4'),
        (make_zip({f'coco8-seg/labels/val/{i}.txt': None for i in range(4)}), 'with labels'),
        (make_zip({'coco8-seg/images': b'a file'}), 'cannot be unpacked'),
        (make_zip()[:-300], 'cannot be unpacked'),
        (make_zip().replace(b'0 0.5 0.5', b'1 0.5 0.5'), 'damaged'),
        (b'<html>blocked by the proxy</html>', 'cannot be unpacked'),
    ],
    ids=range(13),
)
def test_bad_archives_are_refused_whole(tmp_path, server, said, body, why):
    server.body = body
    root = tmp_path / 'data' / 'set'
    assert sample_data.prepare('quick', root, server.url) == 'rendered'
    [line] = said()
    assert line.startswith(f'Sample data quick: drawn by detkit into {root} (no download from ') and why in line
    assert (root / 'images/train/drawn.jpg').exists()
    assert_nothing_left(root.parent)
    assert not list(tmp_path.rglob('outside*'))


@pytest.mark.parametrize('claimed', [50, -1])
def test_truncated_download(tmp_path, server, said, claimed):
    whole = len(server.body)
    server.length = whole + claimed if claimed > 0 else -1
    server.body = server.body[: whole - (0 if claimed > 0 else 300)]
    assert sample_data.prepare('quick', tmp_path / 'set', server.url) == 'rendered'
    assert (f'only {whole} of {whole + 50} bytes' if claimed > 0 else 'cannot be unpacked') in said()[0]


def test_other_refusals(tmp_path, server, said):
    free = http.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler)
    port = free.server_port
    free.server_close()
    cases = {
        'refused': f'http://127.0.0.1:{port}/x.zip',
        '404': server.url + 'x',
        'begin with http:// or https://': 'nowhere',
        'no download wanted': '',
    }
    for number, (why, url) in enumerate(cases.items()):
        assert sample_data.prepare('quick', tmp_path / f'set{number}', url) == 'rendered'
        assert why in said()[0]


def test_checksum_and_size(tmp_path, server):
    with pytest.raises(DownloadError, match='checksum'):
        download(server.url, tmp_path / 'x.zip', 1_000_000, sha256='0' * 64)
    with pytest.raises(DownloadError, match='larger'):
        download(server.url, tmp_path / 'y.zip', 100)
    server.length = -1
    with pytest.raises(DownloadError, match='larger'):
        download(server.url, tmp_path / 'z.zip', 100)


def test_a_download_that_stalls_is_given_up(tmp_path, server, monkeypatch):
    monkeypatch.setattr('detkit.utils.download.STALL_SECONDS', 0.2)
    server.stall, server.length = True, len(server.body) + 10
    with pytest.raises(DownloadError, match='nothing came for 0.2 s'):
        download(server.url, tmp_path / 'x.zip', 1_000_000)
    assert (tmp_path / 'x.zip').stat().st_size == len(server.body)


def test_a_download_that_trickles_is_given_up(tmp_path, monkeypatch):
    """Each byte comes in time, but the file never ends."""
    monkeypatch.setattr('detkit.utils.download.SLOW_SECONDS', 0.3)
    given_up = threading.Event()

    class Trickle(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            for _ in range(1000):
                self.wfile.write(b'x')
                if given_up.wait(0.02):
                    break

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Trickle) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            with pytest.raises(DownloadError, match=r'only \d+ bytes came in 0.3 s'):
                download(f'http://127.0.0.1:{running.server_port}/x', tmp_path / 'x', 1_000_000)
        finally:
            given_up.set()
            running.shutdown()
            thread.join()


def test_a_name_look_up_that_hangs_is_given_up(tmp_path, monkeypatch):
    release = threading.Event()

    def hang(*args, **options):
        release.wait(10)
        raise OSError('no such name')

    monkeypatch.setattr('socket.getaddrinfo', hang)
    path = tmp_path / 'x.zip'
    with pytest.raises(DownloadError, match='nothing came for 0.2 s'):
        download('http://example.invalid/x.zip', path, 100, patience=0.2)
    release.set()
    assert not path.exists()


def test_the_limits_keep_a_failing_download_below_ten_seconds():
    from detkit.utils.download import FIRST_BYTE_SECONDS, STALL_SECONDS

    assert STALL_SECONDS <= FIRST_BYTE_SECONDS < 10


def test_environment_names_the_address(tmp_path, server, monkeypatch):
    monkeypatch.setenv(sample_data.URL_VARIABLE, server.url)
    assert sample_data.prepare('quick', tmp_path / 'set') == 'downloaded'
    monkeypatch.setenv(sample_data.URL_VARIABLE, '')
    assert sample_data.prepare('quick', tmp_path / 'other') == 'rendered'


def test_unknown_sample_and_unwritable_folder(tmp_path, server):
    with pytest.raises(DataError, match="no sample dataset 'coco8-sag'.*Did you mean 'coco8-seg'"):
        sample_data.prepare('coco8-sag', tmp_path)
    (tmp_path / 'file').touch()
    with pytest.raises(DataError, match='cannot be written.*data_root'):
        sample_data.prepare('quick', tmp_path / 'file/set', server.url)


def test_an_archive_of_another_task_is_refused(tmp_path, server, said, monkeypatch):
    sample = replace(sample_data.SAMPLES['quick'], columns=5, drawn='3 images')
    monkeypatch.setitem(sample_data.SAMPLES, 'boxes', sample)
    assert sample_data.prepare('boxes', tmp_path / 'first', server.url) == 'downloaded'
    server.body = make_zip({'coco8-seg/labels/val/2.txt': b'0 0.5 0.5 0.2 0.2\n\n0 0.1 0.1 0.2 0.1 0.2 0.2\n'})
    assert sample_data.prepare('boxes', tmp_path / 'second', server.url) == 'rendered'
    assert f'{tmp_path / "second"}, 3 images (no download from' in said()[-1]
    assert sample_data.prepare('quick', tmp_path / 'third', server.url) == 'downloaded'


def test_a_set_without_an_address_is_drawn_at_once(tmp_path, server, said, monkeypatch):
    sample = replace(sample_data.SAMPLES['quick'], url='', drawn='7 images')
    monkeypatch.setitem(sample_data.SAMPLES, 'local', sample)
    monkeypatch.setenv(sample_data.URL_VARIABLE, server.url)
    assert sample_data.prepare('local', tmp_path / 'set') == 'rendered'
    assert said() == [f'Sample data local: drawn by detkit into {tmp_path / "set"}, 7 images']


@pytest.mark.parametrize(('name', 'values'), [('coco8-seg', None), ('coco8-pose', 56), ('dota8', 9), ('weather', None)])
def test_known_samples(name, values):
    sample = sample_data.SAMPLES[name]
    assert sample.columns == values
    assert sample.url == '' if name == 'weather' else sample.url.endswith(f'/{name}.zip')
    numbers = [
        str(parameter.default)
        for key, parameter in inspect.signature(sample.render).parameters.items()
        if key.startswith('num_')
    ]
    assert name == 'coco8-seg' or all(f'{number} ' in sample.drawn for number in numbers)


def test_interrupted_preparation_leaves_nothing_that_counts(tmp_path, monkeypatch):
    def render(root: Path) -> None:
        (root / 'images').mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setitem(sample_data.SAMPLES, 'slow', sample_data.Sample('', 1, {}, render))
    with pytest.raises(KeyboardInterrupt):
        sample_data.prepare('slow', tmp_path / 'set', '')
    assert [path.name for path in tmp_path.iterdir()] == ['.set.lock']


@pytest.mark.thorough
def test_killed_preparation_is_cleaned_up_by_the_next(tmp_path):
    code = f"""
import time
from detkit.sample_data import samples as sample_data
def render(root):
    (root / 'images').mkdir(parents=True)
    print('drawing', flush=True)
    time.sleep(60)
sample_data.SAMPLES['slow'] = sample_data.Sample('', 1, {{}}, render)
sample_data.prepare('slow', {str(tmp_path / 'set')!r}, '')
"""
    with Child(code) as process:
        assert process.stdout.readline() == 'drawing\n'
    assert not (tmp_path / 'set').exists() and len(list(tmp_path.glob('.set.part-*'))) == 1
    assert sample_data.prepare('quick', tmp_path / 'set', '') == 'rendered'
    assert_nothing_left(tmp_path)


def test_processes_prepare_it_once(tmp_path, monkeypatch):
    drawn = []

    def render(root: Path) -> None:
        drawn.append(root)
        time.sleep(0.1)
        (root / 'images').mkdir(parents=True)

    monkeypatch.setitem(sample_data.SAMPLES, 'slow', sample_data.Sample('', 1, {}, render))
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(sample_data.prepare('slow', tmp_path / 'set', '')))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ['present', 'present', 'rendered'] and len(drawn) == 1


def test_unpack_writes_nothing_of_a_bad_archive(tmp_path):
    archive = tmp_path / 'x.zip'
    archive.write_bytes(make_zip({'../x.txt': b''}))
    with pytest.raises(DownloadError):
        unpack(archive, tmp_path / 'folder', 1_000_000)
    assert not (tmp_path / 'folder').exists()


def test_dataset_asks_for_its_sample_only_at_the_default_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no sample dataset 'coco9-seg', only coco8-seg.*Did you mean 'coco8-seg'"):
        YoloTxtDataset(data_root='data/coco9-seg', images='images', sample='coco9-seg')
    asked = []
    monkeypatch.setitem(SAMPLE_DATASETS.module_dict, 'coco8-seg', lambda root: asked.append(('coco8-seg', str(root))))
    options = {'images': 'images/train', 'sample': 'coco8-seg', 'metainfo': {'classes': COCO80}}
    with pytest.raises(DataError, match='does not exist'):
        YoloTxtDataset(data_root='elsewhere', **options)
    assert asked == []
    with pytest.raises(DataError, match='does not exist'):
        YoloTxtDataset(data_root='data/coco8-seg', **options)
    assert asked == [('coco8-seg', 'data/coco8-seg')]


def test_drawn_set_is_a_data_set(scenes_drawn_once, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(sample_data.URL_VARIABLE, '')
    for split in ('train', 'val'):
        dataset = YoloTxtDataset(
            data_root='data/coco8-seg', images=f'images/{split}', sample='coco8-seg', metainfo={'classes': COCO80}
        )
        assert len(dataset) == 4 and dataset.skipped == [] and [skip.count for skip in dataset.unused] == [71]
        assert all(len(record.annotations.polygons.ring_sizes) > 0 for record in dataset.records)
