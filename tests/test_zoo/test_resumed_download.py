"""Downloads that break, go on, or bring another file than expected."""

import hashlib
import json
import time
from pathlib import Path

import pytest
from file_server import FileServer, Served

from detkit.utils import download
from detkit.utils.download import DownloadError, download_resumed

BODY = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(BODY).hexdigest()


def fetch(server: FileServer, path: Path, served: Served, **options) -> str:
    server.files['/x.bin'] = served
    return download_resumed(f'{server.url}/x.bin', path, **{'max_bytes': 10**6, **options})


def leave_part(server: FileServer, path: Path, body: bytes, etag: str) -> None:
    """Write what a process that was killed leaves."""
    path.with_name('x.bin.part').write_bytes(body)
    state = {'url': f'{server.url}/x.bin', 'validator': etag}
    path.with_name('x.bin.part.json').write_text(json.dumps(state))


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / 'to').mkdir()
    return tmp_path / 'to' / 'x.bin'


def assert_only(path: Path) -> None:
    assert [file.name for file in path.parent.iterdir()] == ['x.bin'] and path.read_bytes() == BODY


def assert_nothing(path: Path) -> None:
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize('with_length', [True, False])
def test_a_whole_file(server, path, with_length):
    assert fetch(server, path, Served(BODY, with_length=with_length), num_bytes=len(BODY), sha256=DIGEST) == DIGEST
    assert_only(path)


def test_a_broken_connection_is_taken_up_where_it_broke(server, path):
    assert fetch(server, path, Served(BODY, '"a"', breaks=[200_000, 100_000])) == DIGEST
    assert_only(path)
    ranges = [wanted for _, wanted in server.requests]
    assert ranges == [None, 'bytes=200000-', 'bytes=300000-']


def test_a_connection_that_always_breaks_is_given_up_and_keeps_its_part(server, path):
    with pytest.raises(DownloadError, match=r'only \d+ of 512000 bytes'):
        fetch(server, path, Served(BODY, '"a"', breaks=[1000] * 99))
    assert len(server.requests) == 5
    assert path.with_name('x.bin.part').read_bytes() == BODY[:5000]
    assert fetch(server, path, Served(BODY, '"a"')) == DIGEST
    assert server.requests[-1][1] == 'bytes=5000-'
    assert_only(path)


def test_the_part_of_a_killed_process_is_gone_on_with(server, path):
    leave_part(server, path, BODY[:123_456], '"a"')
    assert fetch(server, path, Served(BODY, '"a"'), sha256=DIGEST) == DIGEST
    assert server.requests == [('/x.bin', 'bytes=123456-')]
    assert_only(path)


@pytest.mark.parametrize('served', [Served(BODY, '"b"'), Served(BODY, '"a"', ranges=False)])
def test_a_changed_file_or_a_server_without_ranges_begins_anew(server, path, served):
    leave_part(server, path, b'old' * 1000, '"a"')
    assert fetch(server, path, served) == DIGEST
    assert_only(path)


@pytest.mark.parametrize('etag', ['', 'W/"a"'])
def test_without_a_strong_validator_it_begins_anew(server, path, etag):
    leave_part(server, path, b'old' * 1000, '')
    assert fetch(server, path, Served(BODY, etag)) == DIGEST
    assert server.requests == [('/x.bin', None)]
    assert_only(path)


def test_a_part_of_another_address_is_not_used(server, path):
    leave_part(server, path, BODY[:1000], '"a"')
    server.files['/y.bin'] = Served(BODY, '"a"')
    assert download_resumed(f'{server.url}/y.bin', path, 10**6) == DIGEST
    assert server.requests == [('/y.bin', None)]


def test_a_part_that_is_as_long_as_the_file_begins_anew(server, path):
    leave_part(server, path, BODY, '"a"')
    assert fetch(server, path, Served(BODY, '"a"')) == DIGEST
    assert_only(path)


def test_another_part_than_asked_for_is_refused(server, path):
    leave_part(server, path, BODY[:1000], '"a"')
    with pytest.raises(DownloadError, match='another part of the file'):
        fetch(server, path, Served(BODY, '"a"', wrong_range=7))
    assert_nothing(path)


def test_another_file_than_expected_leaves_nothing(server, path):
    with pytest.raises(DownloadError, match='the checksum'):
        fetch(server, path, Served(BODY), sha256='0' * 64)
    with pytest.raises(DownloadError, match='has 512,000 bytes, not 512,001'):
        fetch(server, path, Served(BODY), num_bytes=len(BODY) + 1)
    assert_nothing(path)
    assert fetch(server, path, Served(BODY), sha256=DIGEST[:8]) == DIGEST


@pytest.mark.parametrize('with_length', [True, False])
def test_a_file_that_is_too_large_is_given_up_early(server, path, with_length):
    with pytest.raises(DownloadError, match='larger than'):
        fetch(server, path, Served(BODY * 50, '"a"', with_length=with_length), max_bytes=100_000)
    assert_nothing(path)


def test_a_missing_file(server, path):
    with pytest.raises(DownloadError, match='404'):
        download_resumed(f'{server.url}/none.bin', path, 10**6)
    assert_nothing(path)


PAGE = b'<html>log in first</html>'


def test_a_web_page_is_no_file(server, path):
    with pytest.raises(DownloadError, match='web page'):
        fetch(server, path, Served(PAGE, kind='text/html; charset=utf-8'))
    assert_nothing(path)


@pytest.mark.parametrize(
    ('served', 'said'),
    [
        (Served(busy=(503, '120')), '503.*again in 120 s'),
        (Served(busy=(429, 'Wed, 21 Oct 2026 07:28:00 GMT')), '429'),
        (Served(PAGE, kind='text/html'), 'web page'),
    ],
    ids=['busy', 'too many requests', 'login'],
)
def test_a_busy_server_costs_no_part(server, path, served, said):
    leave_part(server, path, BODY[:1000], '"a"')
    with pytest.raises(DownloadError, match=said):
        fetch(server, path, served)
    fetch(server, path, Served(BODY, '"a"'))
    assert server.requests[-1][1] == 'bytes=1000-'
    assert_only(path)


def test_a_shared_file_that_is_damaged_is_fetched_anew(server, path, capsys):
    server.files['/x.bin'] = Served(BODY)
    path.write_bytes(BODY[:1000])
    for _ in range(2):
        download.download_once(f'{server.url}/x.bin', path, 10**6, sha256=DIGEST[:8])
        assert_only(path)
    assert len(server.requests) == 1 and 'x.bin is damaged' in capsys.readouterr().err


def test_redirections(server, path):
    server.files['/y.bin'] = Served(redirect=f'{server.url}/x.bin')
    server.files['/x.bin'] = Served(BODY)
    assert download_resumed(f'{server.url}/y.bin', path, 10**6) == DIGEST
    path.unlink()
    server.files['/x.bin'] = Served(redirect=f'{server.url}/y.bin')
    with pytest.raises(DownloadError, match='infinite loop'):
        download_resumed(f'{server.url}/y.bin', path, 10**6)
    for elsewhere, said in (
        ('ftp://127.0.0.1/x', 'redirects from http to ftp'),
        ('file:///etc/hostname', 'not allowed'),
    ):
        server.files['/x.bin'] = Served(redirect=elsewhere)
        with pytest.raises(DownloadError, match=said):
            download_resumed(f'{server.url}/x.bin', path, 10**6)
    assert_nothing(path)


def test_what_arrives_after_a_stall_is_not_written(server, path, monkeypatch):
    monkeypatch.setattr(download, 'STALL_SECONDS', 0.2)
    with pytest.raises(DownloadError, match='nothing came'):
        fetch(server, path, Served(BODY, '"a"', breaks=[1000] * 9, stall=True))
    server.release.set()
    time.sleep(0.3)  # the abandoned threads wake up
    part = path.with_name('x.bin.part').read_bytes()
    assert part == BODY[: len(part)] and len(part) >= 1000


def test_no_server(path):
    with pytest.raises(DownloadError):
        download_resumed('http://127.0.0.1:9/x.bin', path, 100)
    assert_nothing(path)
