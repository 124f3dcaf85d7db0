"""A server in a thread of this process, and a client that sends what it is told to."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from detkit.serving import ServeSettings, create_app
from detkit.serving.model import ServedModel
from detkit.serving.server import listen, make_server

# All tests predict at this size, so that the network takes milliseconds.
SMALL = 'img_size=64'
LIMITS = ServeSettings(max_pixels=1 << 16, max_mask_pixels=1 << 23)


class Answer:
    """The answer to a request."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.body = response.status, response.read()
        self.headers = response.headers

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.json['error']


class Client:
    """Sends requests to a server on this machine, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
        try:
            named = {name.replace('_', '-'): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request('GET', path, **headers)

    def post(self, data: bytes, query: str = SMALL, kind: str = 'image/png', **headers: str) -> Answer:
        """Send the bytes of one file."""
        return self.request('POST', f'/predict?{query}', data, Content_Type=kind, **headers)

    def post_form(self, files: dict[str, bytes], query: str = SMALL, **headers: str) -> Answer:
        """Send files as a form does."""
        kind = 'multipart/form-data; boundary=XX'
        return self.post(multipart(files), query, kind, **headers)

    def post_json(self, content: Any, query: str = SMALL, **headers: str) -> Answer:
        return self.post(json.dumps(content).encode(), query, 'application/json', **headers)

    def raw(self, data: bytes, seconds: float = 60) -> bytes:
        """Send bytes as they are, and return all that comes until the server closes the connection."""
        with socket.create_connection(('127.0.0.1', self.port), timeout=seconds) as sock:
            sock.sendall(data)
            return read_all(sock)

    def metric(self, name: str, **headers: str) -> float:
        """Return a value of /metrics by its name and labels."""
        lines = self.get('/metrics', **headers).body.decode().splitlines()
        return next((float(line.rpartition(' ')[2]) for line in lines if line.startswith(f'{name} ')), 0.0)


def multipart(files: dict[str, bytes], boundary: str = 'XX') -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f'Content-Type: image/png\r\n\r\n'.encode()
        + data
        + b'\r\n'
        for name, data in files.items()
    ]
    return b''.join(parts) + f'--{boundary}--\r\n'.encode()


def read_all(sock: socket.socket) -> bytes:
    found = b''
    try:
        while block := sock.recv(1 << 16):
            found += block
    except ConnectionResetError:
        return found
    return found


@contextmanager
def running(model: ServedModel, **settings: Any) -> Iterator[Client]:
    """Run a server until the block ends."""
    made = ServeSettings(**{'batch_size': 4, **settings})
    ready = threading.Event()
    sock = listen('127.0.0.1', 0)
    port = sock.getsockname()[1]
    server = make_server(create_app(model, made, 'small.pth'), made, ready.set)
    thread = threading.Thread(target=server.run, kwargs={'sockets': [sock]}, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield Client(port)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def wait_until(condition: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it does not come to pass'
        time.sleep(0.01)
