"""Weights by name: fetched once, checked, converted, kept, and taken wherever a checkpoint is expected."""

import hashlib
import re
from contextlib import ExitStack
from pathlib import Path

import pytest
from builders import CONFIGS
from file_server import Served
from processes import Child
from ultralytics_files import read_recorded, seeded_tensors, write_pt

from detkit import Detector, zoo
from detkit.engine.checkpoint import load_checkpoint
from detkit.engine.default_weights import find_default_weights
from detkit.inference import Predictor
from detkit.utils.errors import CheckpointError, ConfigError
from detkit.zoo import weights

FAMILY = """
licences:
  Mine-1.0: {{permissive: false, note: ask me first}}
families:
- family: Test
  converter: {converter}
  licence: {licence}
  url: {url}
  task: det
  config: yolov8/det_coco
  entries:
    tiny-test: {{size: n{more}}}
"""


@pytest.fixture(scope='module')
def pt_file(tmp_path_factory) -> Path:
    """A file of ultralytics with random weights."""
    path = tmp_path_factory.mktemp('pt') / 'tiny.pt'
    layout = read_recorded()['layouts']['det_n']
    return write_pt(path, layout, 'det', seeded_tensors(layout, 3), classes=('a', 'b', 'c'))


@pytest.fixture
def entry(tmp_path, monkeypatch, server, pt_file):
    """Name ``tiny-test`` in a table of the user, served as ``/tiny.pt``; keyword arguments change its row."""

    def define(converter='ultralytics', licence='Apache-2.0', url='', more='') -> None:
        table = tmp_path / 'own.yaml'
        url = url or f'{server.url}/tiny.pt'
        table.write_text(FAMILY.format(converter=converter, licence=licence, url=url, more=more))
        monkeypatch.setenv('DETKIT_ZOO_FILE', str(table))
        monkeypatch.delenv('DETKIT_ZOO_URL', raising=False)

    server.files['/tiny.pt'] = Served(pt_file.read_bytes(), '"1"')
    define()
    return define


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_fetched_checked_and_converted_once(entry, server, cache, pt_file, capsys):
    entry(licence='Mine-1.0', more=f', bytes: {pt_file.stat().st_size}, sha256: "{digest_of(pt_file)}"')
    path = zoo.fetch('tiny-test')
    assert path.parent == cache / 'zoo' / 'tiny-test'
    said = capsys.readouterr().err
    assert 'licence  tiny-test: Mine-1.0: ask me first' in said and '(as published)' in said
    meta = load_checkpoint(path)['meta']
    assert meta['converted_from']['zoo'] == 'tiny-test' and meta['converted_from']['sha256'] == digest_of(pt_file)
    assert meta['converted_from']['licence'].startswith('AGPL-3.0')  # what the file says counts
    assert "'prefilter_above': None" in meta['config']

    before = path.stat().st_mtime_ns
    assert zoo.fetch('tiny-test') == path and zoo.fetch('tiny-test.pt') == path
    assert path.stat().st_mtime_ns == before and len(server.requests) == 1
    assert capsys.readouterr().err == ''


def test_a_digest_that_is_not_known_is_that_of_the_first_use(entry, cache, pt_file, capsys):
    zoo.fetch('tiny-test')
    assert '(first seen, recorded beside it)' in capsys.readouterr().err
    kept = cache / 'zoo' / 'tiny-test' / 'tiny.pt'
    assert kept.with_name('tiny.pt.sha256').read_text() == f'{digest_of(pt_file)}  tiny.pt\n'
    kept.write_bytes(kept.read_bytes() + b'more')
    with pytest.raises(CheckpointError, match='was .* when it was first used'):
        zoo.fetch('tiny-test')


def test_another_file_than_expected(entry, cache, server):
    entry(more=', sha256: "00000000"')
    with pytest.raises(CheckpointError, match=r'could not be fetched from .*the checksum .*--file tiny.pt'):
        zoo.fetch('tiny-test')
    assert [path.name for path in (cache / 'zoo' / 'tiny-test').iterdir()] == ['.lock']
    (cache / 'zoo' / 'tiny-test' / 'tiny.pt').write_bytes(server.files['/tiny.pt'].body)
    with pytest.raises(CheckpointError, match='another file than expected: its checksum'):
        zoo.fetch('tiny-test')


def test_by_hand_and_by_file_without_a_network(entry, server, cache, pt_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('DETKIT_ZOO_URL', '')
    with pytest.raises(CheckpointError, match='no download wanted: DETKIT_ZOO_URL is empty'):
        zoo.fetch('tiny-test')
    path = zoo.fetch('tiny-test', pt_file)
    assert 'found at' in capsys.readouterr().err
    monkeypatch.setenv('DETKIT_CACHE', str(tmp_path / 'other'))
    by_hand = tmp_path / 'other' / 'zoo' / 'tiny-test' / 'tiny.pt'
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(pt_file.read_bytes())
    assert zoo.fetch('tiny-test').read_bytes() == path.read_bytes()
    assert server.requests == []


def test_a_wrong_file_given_by_hand_does_not_enter_the_cache(entry, cache, pt_file, tmp_path, monkeypatch):
    entry(more=f', bytes: {pt_file.stat().st_size}')
    monkeypatch.setenv('DETKIT_ZOO_URL', '')
    wrong = tmp_path / 'wrong.pt'
    wrong.write_bytes(b'another file')
    with pytest.raises(CheckpointError, match=r'wrong\.pt is another file than .*tiny\.pt: it has 12 B'):
        zoo.fetch('tiny-test', wrong)
    assert [path.name for path in (cache / 'zoo' / 'tiny-test').iterdir()] == ['.lock']
    assert zoo.fetch('tiny-test', pt_file).is_file()
    with pytest.raises(CheckpointError, match='is another file'):
        zoo.fetch('tiny-test', wrong)
    assert zoo.fetch('tiny-test').is_file()  # what was there is still there


def test_a_mirror_has_the_tree_of_the_cache(entry, server, pt_file, monkeypatch):
    monkeypatch.setenv('DETKIT_ZOO_URL', f'{server.url}/mirror/')
    server.files['/mirror/tiny-test/tiny.pt'] = Served(pt_file.read_bytes())
    zoo.fetch('tiny-test')
    assert [path for path, _ in server.requests] == ['/mirror/tiny-test/tiny.pt']


def test_a_mirror_in_a_folder(entry, pt_file, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('DETKIT_ZOO_URL', ' ~/mirror/')
    (tmp_path / 'mirror' / 'tiny-test').mkdir(parents=True)
    (tmp_path / 'mirror' / 'tiny-test' / 'tiny.pt').write_bytes(pt_file.read_bytes())
    assert zoo.fetch('tiny-test').is_file()


@pytest.mark.parametrize(
    ('mirror', 'reason'),
    [
        ('ftp://127.0.0.1/x', 'fetched from http:// and https:// addresses, and copied from folders'),
        ('file:///x', 'fetched from http:// and https:// addresses, and copied from folders'),
        ('https://[::1', 'Invalid IPv6 URL'),
        ('http://a:b:c', "nonnumeric port: 'c'"),
    ],
)
def test_a_mirror_that_is_none_is_named(entry, mirror, reason, monkeypatch):
    monkeypatch.setenv('DETKIT_ZOO_URL', mirror)
    with pytest.raises(CheckpointError, match=f'could not be fetched from {re.escape(mirror)}/.*{re.escape(reason)}'):
        zoo.fetch('tiny-test')


def test_a_path_beside_the_table(entry, tmp_path, pt_file, monkeypatch):
    entry(url='shared/tiny.pt')
    (tmp_path / 'shared').mkdir()
    (tmp_path / 'shared' / 'tiny.pt').write_bytes(pt_file.read_bytes())
    monkeypatch.setenv('DETKIT_ZOO_URL', '')
    assert zoo.fetch('tiny-test').is_file()


def test_a_damaged_result_is_converted_anew(entry):
    path = zoo.fetch('tiny-test')
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    assert zoo.fetch('tiny-test') == path and path.read_bytes() == whole


def test_what_is_no_such_file_is_named(entry, server, pt_file):
    server.files['/tiny.pt'] = Served(b'<html>not found</html>')
    with pytest.raises(CheckpointError, match=r'tiny\.pt'):
        zoo.fetch('tiny-test')
    server.files['/tiny.pt'] = Served(pt_file.read_bytes())
    assert zoo.fetch('tiny-test').is_file()  # what cannot be read was not kept


@pytest.mark.thorough
def test_two_processes_at_once_fetch_once(entry, server, cache):
    code = "from detkit import zoo; print(zoo.fetch('tiny-test'))"
    with ExitStack() as stack:
        processes = [stack.enter_context(Child(code)) for _ in range(2)]
        paths = {process.communicate().splitlines()[-1] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(server.requests) == 1 and len(paths) == 1
    assert load_checkpoint(paths.pop())['meta']['classes'] == ['a', 'b', 'c']


def test_a_name_stands_for_a_checkpoint(entry, tmp_path, monkeypatch, capsys):
    from PIL import Image

    Image.new('RGB', (64, 48), 'gray').save(tmp_path / 'x.png')
    sample = Predictor(None, 'tiny-test', device='cpu', img_size=64).predict(tmp_path / 'x.png')[0]
    assert sample.ori_shape == (48, 64)
    detector = Detector('tiny-test', device='cpu')
    assert detector.classes == ('a', 'b', 'c') and 'AGPL-3.0' in repr(detector)
    assert len(detector(tmp_path / 'x.png', img_size=64)) == 1
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tiny-test').mkdir()  # what is there wins
    with pytest.raises(CheckpointError, match='is a folder'):
        load_checkpoint('tiny-test')


def test_unknown_names():
    with pytest.raises(ConfigError, match="no weights named 'yolov8q'. Did you mean 'yolov8"):
        zoo.fetch('yolov8q')
    with pytest.raises(CheckpointError, match='detkit zoo list'):
        load_checkpoint('yolov8q')


def test_unasked_weights_need_a_permissive_licence(entry, server):
    entry(licence='Mine-1.0')
    path, reason = weights.fetch_unasked('tiny-test')
    assert path is None and 'have the licence Mine-1.0' in reason and server.requests == []
    entry(licence='Apache-2.0')
    path, reason = weights.fetch_unasked('tiny-test')
    assert path.is_file() and reason == ''
    assert find_default_weights('tiny-test') == (path, '')


def test_a_server_that_is_away_is_not_asked_twice(entry, monkeypatch):
    entry(url='http://127.0.0.1:9/tiny.pt')
    path, reason = weights.fetch_unasked('tiny-test')
    assert path is None and 'could not be fetched' in reason
    monkeypatch.setattr(weights, 'fetch', lambda *args, **kwargs: pytest.fail('asked again'))
    assert weights.fetch_unasked('tiny-test') == (None, reason)


@pytest.mark.thorough
def test_every_config_s_default_weights_have_its_size():
    from detkit.config.execute import execute

    seen = 0
    for path in sorted(CONFIGS.glob('*/*_custom.py')):
        values = execute(path, {}).values
        for size in values.get('sizes') or ():
            sized = values if size == values['size'] else execute(path, {'size': size}).values
            name = sized.get('default_load_from')
            if name is not None:
                entry = zoo.find_entry(name)
                assert entry.size == size and entry.task == values['task']
                assert entry.config.split('/')[0] == path.parent.name
                seen += 1
    assert seen == 25 + 5 + 3 + 4 + 10 + (4 + 2 + 1) + (2 + 1)
