"""Images at addresses: only from hosts that are allowed, and never from a network that is not public."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from urllib.parse import unquote

import pytest
from serving_helpers import LIMITS, SMALL, running

from detkit.serving import ServeSettings
from detkit.serving.model import ServedModel
from detkit.serving.problems import RequestProblem
from detkit.serving.remote import Fetcher, is_public


class Pages(http.server.BaseHTTPRequestHandler):
    """What each path of a server answers."""

    protocol_version = 'HTTP/1.1'
    picture = b''

    def do_GET(self) -> None:
        name, _, value = self.path.strip('/').partition('/')
        if name == 'picture.png':
            self.answer(200, self.picture)
        elif name == 'to':  # a redirection to the rest of the path
            self.answer(302, b'', Location=unquote(value).replace('|', '/'))
        elif name == 'large':
            self.answer(200, b'', **{'Content-Length': str(1 << 40)})
            self.wfile.write(bytes(1 << 22))
        elif name == 'slow':
            time.sleep(1.5)
            self.answer(200, self.picture)
        elif name == 'short':
            self.answer(200, b'abc', **{'Content-Length': '10'})
        elif name == 'nothing':
            self.close_connection = True
        else:
            self.answer(404, b'no')

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for key, value in {'Content-Length': str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope='module')
def port(picture):
    """The port of a server on this machine."""
    Pages.picture = picture
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def fetch(url: str, *hosts: str, private: bool = True, **settings: object) -> bytes:
    made = ServeSettings(allow_urls=hosts, allow_private_urls=private, max_bytes=1 << 20, **settings)
    return Fetcher(made).fetch(url)


def refusal(url: str, *hosts: str, private: bool = True, **settings: object) -> tuple[int, str]:
    with pytest.raises(RequestProblem) as caught:
        fetch(url, *hosts, private=private, **settings)
    return caught.value.status, caught.value.text


def test_a_picture_is_fetched_where_its_host_is_allowed(port, picture):
    own = f'127.0.0.1:{port}'
    assert fetch(f'http://{own}/picture.png', own) == picture
    assert fetch(f'http://{own}/to/|picture.png', own) == fetch(f'http://{own}/to/../picture.png', own) == picture
    assert fetch(f'http://{own}/to/http:||{own}|picture.png', own) == picture


def test_an_answer_says_what_was_at_an_address(port, small_detector, picture):
    own = f'127.0.0.1:{port}'
    with running(ServedModel(small_detector, LIMITS), allow_urls=(own,), allow_private_urls=True) as client:
        answer = client.post_json({'images': [{'url': f'http://{own}/picture.png'}]})
        assert answer.json['results'][0]['img_path'] == 'picture.png'
        assert answer.json['results'][0]['objects'] == client.post(picture, SMALL).json['results'][0]['objects']
        answer = client.post_json({'images': [{'url': f'http://{own}/nowhere'}]})
        assert (answer.status, '404' in answer.error) == (424, True)


@pytest.mark.parametrize(
    ('url', 'hosts', 'status'),
    [
        ('http://example.org/a.png', (), 403),
        ('http://example.org/a.png', ('example.com',), 403),
        ('http://example.org:8080/a.png', ('example.org',), 403),
        ('http://example.org:22/a.png', ('*',), 403),
        ('http://example.org.evil.com/a.png', ('example.org',), 403),
        ('http://evil.com/example.org', ('example.org',), 403),
        ('http://example.org@evil.com/a.png', ('example.org',), 422),
        ('http://user:word@example.org/a.png', ('example.org',), 422),
        ('file:///etc/passwd', ('*',), 422),
        ('ftp://example.org/a', ('*',), 422),
        ('//example.org/a', ('*',), 422),
        ('http:///a', ('*',), 422),
        ('http://[::1/a', ('*',), 422),
        ('http://example.org:99999/', ('*',), 422),
        ('', ('*',), 422),
    ],
)
def test_an_address_that_is_not_allowed_is_not_looked_up(url, hosts, status, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError('it was looked up')

    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    assert refusal(url, *hosts)[0] == status


@pytest.mark.parametrize(
    'host', ['127.0.0.1', 'localhost', '127.1', '2130706433', '0.0.0.0', '[::1]', '[::ffff:127.0.0.1]']
)
def test_this_machine_is_not_asked_unless_allowed(host, port):
    """In all the ways in which its address can be written; '*' allows any name, not any network."""
    status, text = refusal(f'http://{host}:{port}/picture.png', '*', f'{host.strip("[]")}:{port}', private=False)
    assert status == 403 and 'not public' in text


@pytest.mark.parametrize(
    'address',
    ['10.0.0.1', '172.16.9.9', '192.168.1.1', '169.254.169.254', '100.64.0.1', '224.0.0.1', '0.0.0.0', '240.0.0.1']
    + ['::1', '::', 'fe80::1%eth0', 'fc00::1', 'ff02::1', '::ffff:10.0.0.1', '64:ff9b::a00:1', '2002:a00:1::']
    + ['2001:0:4136:e378:8000:63bf:f5ff:fffe'],
)
def test_networks_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    'address', ['1.1.1.1', '8.8.8.8', '2606:4700:4700::1111', '::ffff:8.8.8.8', '64:ff9b::808:808']
)
def test_addresses_that_are_public(address):
    assert is_public(address)


def test_a_redirection_is_checked_like_an_address(port):
    own = f'127.0.0.1:{port}'
    assert refusal(f'http://{own}/to/http:||localhost:{port}|picture.png', own)[0] == 403
    assert refusal(f'http://{own}/to/file:|||etc|passwd', own)[0] == 422
    assert refusal(f'http://{own}/to/http:||[::1|', own)[0] == 424
    assert refusal(f'http://{own}/to/' + 'to/' * 5 + 'picture.png', own)[0] == 424


def test_a_redirection_to_a_less_safe_address_is_refused(monkeypatch):
    monkeypatch.setattr(Fetcher, '_get', lambda *_: 'http://example.org/a.png')
    assert refusal('https://example.org/a.png', 'example.org') == (424, 'https://example.org/a.png redirects to http')


def test_a_name_with_one_private_address_is_refused(monkeypatch, port):
    """Though the other is public: which of them would be taken is up to chance."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, '', (host, 80)) for host in ('93.184.215.14', '10.0.0.1')]
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *_, **__: found)
    assert refusal('http://example.org/', '*', private=False)[0] == 403


def test_the_address_that_was_checked_is_the_one_that_is_asked(monkeypatch, port, picture):
    """A name that changes its address after the check gains nothing: it is looked up once."""
    looked_up = []

    def look_up(host: str, *_: object, **__: object) -> list:
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, '', ('127.0.0.1', port))]

    monkeypatch.setattr(socket, 'getaddrinfo', look_up)
    assert fetch(f'http://example.org:{port}/picture.png', f'example.org:{port}') == picture
    assert looked_up == ['example.org']


@pytest.mark.parametrize(
    ('path', 'status', 'text'),
    [
        ('large', 413, 'larger than 1,048,576 bytes'),
        ('short', 424, 'could not be fetched'),
        ('nothing', 424, 'could not be fetched'),
        ('nowhere', 424, 'status 404'),
        ('slow', 424, 'could not be fetched'),
    ],
)
def test_what_cannot_be_fetched_gets_a_sentence(path, status, text, port):
    own = f'127.0.0.1:{port}'
    found = refusal(f'http://{own}/{path}', own, body_seconds=0.5 if path == 'slow' else 10.0)
    assert (found[0], text in found[1]) == (status, True), found


def test_a_host_that_is_not_there_gets_a_sentence(port):
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        own = f'127.0.0.1:{sock.getsockname()[1]}'
        assert refusal(f'http://{own}/', own)[0] == 424
