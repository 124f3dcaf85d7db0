"""How the server ends."""

import logging
import signal

import pytest

pytest.importorskip('uvicorn')
fastapi = pytest.importorskip('fastapi')

from detkit.serving import ServeSettings  # noqa: E402
from detkit.serving.server import listen, make_server, serve  # noqa: E402


@pytest.mark.parametrize('signals', [1, 2])
def test_a_signal_that_comes_again_ends_it_without_a_traceback(signals, caplog):
    def stop() -> None:
        for _ in range(signals):
            server.handle_exit(signal.SIGTERM, None)

    server = make_server(fastapi.FastAPI(), ServeSettings(), on_ready=stop)
    with caplog.at_level(logging.ERROR):
        server.run(sockets=[listen('127.0.0.1', 0)])
    assert server.force_exit == (signals == 2)
    assert not caplog.records


@pytest.mark.skipif(not hasattr(signal, 'SIGHUP'), reason='Windows has no SIGHUP')
def test_a_terminal_that_is_closed_ends_it_as_a_signal_does():
    def other(number, frame):
        raise AssertionError

    before = signal.signal(signal.SIGHUP, other)
    try:
        with listen('127.0.0.1', 0) as sock:
            serve(fastapi.FastAPI(), ServeSettings(), sock, on_ready=lambda: signal.raise_signal(signal.SIGHUP))
        assert signal.getsignal(signal.SIGHUP) is other
    finally:
        signal.signal(signal.SIGHUP, before)
