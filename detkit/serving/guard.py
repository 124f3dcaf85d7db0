"""``Guard``: what holds for every request: headers of security, the token, other sites' pages, counts and faults."""

from __future__ import annotations

import asyncio
import hmac
import logging
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from detkit.serving.metrics import Metrics
from detkit.serving.problems import RequestProblem
from detkit.serving.settings import ServeSettings
from detkit.utils.printable import printable

_log = logging.getLogger(__name__)

# The page's own script and style alone; canvases and pictures that the page itself makes.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    b'content-security-policy': _POLICY.encode(),
    b'x-content-type-options': b'nosniff',
    b'x-frame-options': b'DENY',
    b'referrer-policy': b'no-referrer',
    b'cross-origin-opener-policy': b'same-origin',
    b'cross-origin-resource-policy': b'same-origin',
    b'permissions-policy': b'camera=(), microphone=(), geolocation=()',
    b'cache-control': b'no-store',
}
# Paths that need no token: the page, which asks for it, and the state of the server.
_OPEN_PATHS = {'/', '/page.js', '/page.css', '/health'}
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 64 << 20


class ProblemResponse(JSONResponse):
    """The answer to a request that is not fulfilled.

    Where a part of the body may not have been read, the connection is closed after the answer; what still comes is read
    and dropped for a moment, so that the client sees the answer before its connection breaks.
    """

    def __init__(self, problem: RequestProblem) -> None:
        headers = {'Retry-After': '1'} if problem.retry else {}
        headers |= {'Connection': 'close'} if problem.unread else {}
        headers |= {'WWW-Authenticate': 'Bearer'} if problem.status == 401 else {}
        super().__init__({'error': printable(problem.text)}, problem.status, headers)
        self._lingers = problem.unread

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._lingers:
            await super().__call__(scope, receive, send)
            return
        await send({'type': 'http.response.start', 'status': self.status_code, 'headers': self.raw_headers})
        await send({'type': 'http.response.body', 'body': self.body, 'more_body': True})
        try:
            await asyncio.wait_for(_drain(receive), _LINGER_SECONDS)
        except asyncio.TimeoutError:
            _log.debug('a client goes on sending a body that was refused')
        await send({'type': 'http.response.body', 'body': b''})


def fault() -> ProblemResponse:
    """Return the answer to a request that failed by a fault of the server."""
    return ProblemResponse(RequestProblem(500, 'the server failed; its log says why', unread=True))


async def _drain(receive: Receive) -> None:
    dropped, more = 0, True
    while more and dropped < _LINGER_BYTES:
        message = await receive()
        dropped += len(message.get('body', b''))
        more = message.get('more_body', False)


class Guard:
    """The outermost application: holds for every request.

    Args:
        app: the application.
        settings: the token and the origins that are allowed.
        metrics: counts requests.
        paths: the paths that are counted by name.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, metrics: Metrics, paths: frozenset[str]) -> None:
        self.app = app
        self._metrics, self._paths = metrics, paths
        self._token = None if settings.token is None else settings.token.encode()
        self._origins = settings.cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return
        status: list[int] = []

        async def send_guarded(message: Message) -> None:
            if message['type'] == 'http.response.start':
                status.append(message['status'])
                message = {**message, 'headers': _with_defaults(message.get('headers', []), bool(self._origins))}
            await send(message)

        try:
            problem = self._refusal(scope)
            answer: Any = self.app if problem is None else ProblemResponse(problem)
            await answer(scope, receive, send_guarded)
        except Exception:  # a fault of detkit's or of the model; the client learns no more than that
            self._metrics.errors.add()
            _log.exception('%s %s failed', scope['method'], printable(scope['path'])[:200])
            if not status:
                await fault()(scope, receive, send_guarded)
        finally:
            path = scope['path'] if scope['path'] in self._paths else 'other'
            self._metrics.requests.add(path, str(status[0]) if status else 'none')

    def _refusal(self, scope: Scope) -> RequestProblem | None:
        """Return why a request is refused whatever it asks for; None where it is not."""
        headers = Headers(scope=scope)
        if scope['method'] == 'OPTIONS':
            return None
        if scope['method'] == 'POST' and headers.get('sec-fetch-site') == 'cross-site':
            if '*' not in self._origins and headers.get('origin') not in self._origins:
                return RequestProblem(403, 'pages of other sites may not use this server', unread=True)
        if self._token is not None and scope['path'] not in _OPEN_PATHS:
            scheme, _, given = headers.get('authorization', '').partition(' ')
            right = hmac.compare_digest(given.strip().encode('latin-1', 'replace'), self._token)
            if scheme.lower() != 'bearer' or not right:
                return RequestProblem(401, 'this server needs a token: Authorization: Bearer TOKEN', unread=True)
        return None


def _with_defaults(headers: list[tuple[bytes, bytes]], shared: bool) -> list[tuple[bytes, bytes]]:
    """Return headers with those of security; ``shared``: pages of other origins may read answers."""
    given = {name.lower() for name, _ in headers}
    left_out = {b'cross-origin-resource-policy'} if shared else set()
    return [*headers, *((name, value) for name, value in _HEADERS.items() if name not in given | left_out)]
