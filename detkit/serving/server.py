"""``serve``: the process that answers requests, until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import h11
import torch
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from detkit.serving.settings import ServeSettings
from detkit.utils.errors import ConfigError
from detkit.utils.interrupts import signals_of

_BACKLOG = 512
_KEEP_ALIVE_SECONDS = 15


class TimedProtocol(H11Protocol):
    """HTTP/1.1 in which no client takes for ever: to send the head of a request, or to read an answer.

    Args:
        settings: the limits.
        kwargs: uvicorn's own.
    """

    def __init__(self, settings: ServeSettings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > self._settings.max_connections:
            transport.abort()
            return
        self._set_timer('head', self._settings.body_seconds)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._cancel_timer('head')
        elif 'head' not in self._timers:  # the first bytes of the next request, or a body that nobody reads
            self._set_timer('head', self._settings.body_seconds)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._set_timer('write', self._settings.deadline_seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_timer('write')

    def connection_lost(self, exc: Exception | None) -> None:
        for name in list(self._timers):
            self._cancel_timer(name)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, where no answer has begun yet; the application need not answer it then."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _set_timer(self, name: str, seconds: float) -> None:
        self._cancel_timer(name)
        self._timers[name] = self.loop.call_later(seconds, self.transport.abort)

    def _cancel_timer(self, name: str) -> None:
        if name in self._timers:
            self._timers.pop(name).cancel()


class Server(uvicorn.Server):
    """A server that a signal ends with status 0, after what is running; a second signal ends it at once.

    Args:
        config: uvicorn's.
        on_ready: called when requests are answered.
    """

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None] | None = None) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._on_ready is not None:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:  # the application is cut off with the loop, which uvicorn would report as a fault
            logging.getLogger('uvicorn.error').setLevel(logging.CRITICAL)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def serve(
    app: ASGIApp, settings: ServeSettings, sock: socket.socket, on_ready: Callable[[], None] | None = None
) -> None:
    """Answer requests at a socket until a signal comes (SIGTERM, SIGINT, SIGHUP).

    Args:
        app: see ``create_app``.
        settings: the limits.
        sock: see ``listen``.
        on_ready: called when requests are answered.
    """
    server = make_server(app, settings, on_ready)
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in signals_of(['SIGHUP']):  # which uvicorn leaves alone
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                previous[number] = signal.signal(number, server.handle_exit)
    try:
        server.run(sockets=[sock])
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def make_server(app: ASGIApp, settings: ServeSettings, on_ready: Callable[[], None] | None = None) -> Server:
    """Return the server; arguments as of ``serve``."""
    for name in ('uvicorn.error', 'python_multipart'):  # their warnings are about clients' mistakes
        logging.getLogger(name).setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        http=partial(TimedProtocol, settings),
        ws='none',
        loop='asyncio',
        lifespan='on',
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=round(settings.deadline_seconds),
    )
    return Server(config, on_ready)


def set_threads(count: int | None) -> None:
    """Set the threads of the network on a CPU; None leaves PyTorch's number.

    Raises:
        ConfigError: it is less than 1.
    """
    if count is not None and count < 1:
        raise ConfigError(f'threads is {count}, but must be a whole number of at least 1')
    if count is not None:
        torch.set_num_threads(count)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Args:
        host: a name or an address of this machine.
        port: 0 for any that is free.

    Raises:
        ConfigError: it cannot be had.
    """
    try:
        if not 0 <= port < 1 << 16:
            raise OverflowError('ports are numbers from 0 to 65535')
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise ConfigError(
            f'the server cannot listen at {host}:{port}: {reason}; give another --host or --port'
        ) from error
