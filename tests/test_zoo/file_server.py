"""A web server on this machine that serves bytes, and that can be told to misbehave."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Served:
    """A file, and how it is served.

    Attributes:
        body: its content.
        etag: its validator; empty for none.
        ranges: whether parts of it are served.
        with_length: whether the length is said.
        breaks: after how many bytes each of the first connections ends.
        stall: wait for ``FileServer.release`` after the bytes of a break.
        redirect: an address to send elsewhere.
        wrong_range: bytes by which a part begins too late.
        kind: its ``Content-Type``; empty for none.
        busy: a status to answer with in place of the file, and the header ``Retry-After``.
    """

    body: bytes = b''
    etag: str = ''
    ranges: bool = True
    with_length: bool = True
    breaks: list[int] = field(default_factory=list)
    stall: bool = False
    redirect: str = ''
    wrong_range: int = 0
    kind: str = ''
    busy: tuple[int, str] | None = None


class FileServer(http.server.ThreadingHTTPServer):
    """The server.

    Attributes:
        files: what is served, by path.
        requests: the path and the Range header of every request.
        passwords: the Authorization header of every request.
        release: set to end all stalls.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.files: dict[str, Served] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.passwords: list[str | None] = []
        self.release = threading.Event()

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.server_port}'


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get('Range')))
        self.server.passwords.append(self.headers.get('Authorization'))
        served = self.server.files.get(self.path)
        if served is None:
            self.send_error(404)
            return
        if served.busy is not None:
            self.send_response(served.busy[0])
            self.send_header('Retry-After', served.busy[1])
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        if served.redirect:
            self.send_response(302)
            self.send_header('Location', served.redirect)
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        start = self._start(served)
        if start is None:
            return
        body = served.body[start:]
        if served.with_length:
            self.send_header('Content-Length', str(len(body)))
        if served.kind:
            self.send_header('Content-Type', served.kind)
        if served.etag:
            self.send_header('ETag', served.etag)
        self.end_headers()
        if served.breaks:
            self.wfile.write(body[: served.breaks.pop(0)])
            self.wfile.flush()
            if served.stall:
                self.server.release.wait(20)
                self.wfile.write(b'late' * 1000)
        else:
            self.wfile.write(body)

    def _start(self, served: Served) -> int | None:
        """Return the first byte to send, the status having been sent; None where that was all."""
        wanted = self.headers.get('Range')
        same = self.headers.get('If-Range') == served.etag
        if not (wanted and served.ranges and same):
            self.send_response(200)
            return 0
        start = int(wanted.removeprefix('bytes=').rstrip('-'))
        if start >= len(served.body):
            self.send_error(416)
            return None
        start += served.wrong_range
        self.send_response(206)
        self.send_header('Content-Range', f'bytes {start}-{len(served.body) - 1}/{len(served.body)}')
        return start

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def running_server() -> Iterator[FileServer]:
    server = FileServer()
    threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
