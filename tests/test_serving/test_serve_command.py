"""``detkit serve``: what it prints, how it ends, and what it refuses before a model is built."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from serving_helpers import SMALL, Client
from small_models import write_shallow_checkpoint

from detkit.cli.main import main


def start(*args: object, **variables: str) -> tuple[subprocess.Popen, Client, str]:
    """Start the command; return its process, a client, and the line that it prints when it is ready."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'detkit', 'serve', *map(str, args), '--port', '0', '--device', 'cpu'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )
    line = process.stdout.readline()
    found = re.search(r' at http://\S+:(\d+)/', line)
    assert found, line + process.stderr.read()
    return process, Client(int(found[1])), line


@pytest.mark.thorough
@pytest.mark.skipif(os.name == 'nt', reason='needs signals')
def test_a_signal_ends_it_after_what_is_running(tmp_path, picture):
    """Requests of several clients are on their way when it comes; all get their answers, and the status is 0.

    They must send the token of the environment.
    """
    path, token = write_shallow_checkpoint(tmp_path / 'small.pth'), 'a-token-of-24-characters'
    options = ('--threads', 1, '--max-wait-ms', 300, '--batch-size', 2)
    process, client, line = start(path, *options, DETKIT_SERVE_TOKEN=token)
    assert line.startswith('small.pth (seg, 3 classes) is served at http://127.0.0.1:')
    assert client.post(picture, SMALL).status == 401
    right = {'Authorization': f'Bearer {token}'}
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.post(picture, 'img_size=640', **right).status))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 120
    while client.metric('detkit_queue_images', **right) < 2:
        assert time.monotonic() < end
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(30)
    assert process.wait(30) == 0
    assert len(answers) >= 2 and set(answers) <= {200}
    assert process.stdout.read() == 'stopped\n' and process.stderr.read() == ''


def test_what_is_wrong_is_said_before_a_model_is_built(tmp_path: Path, capsys):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        for args, text in [
            (['--port', port], f'the server cannot listen at 127.0.0.1:{port}'),
            (['--port', 70000], 'the server cannot listen at 127.0.0.1:70000'),
            (['--host', 'no such host', '--port', 0], 'the server cannot listen at no such host:0'),
            (['--batch-size', 0], 'batch_size is 0'),
            (['--threads', 0], 'threads is 0'),
            (['--allow-urls', 'https://x/'], "allow_urls has 'https://x/'"),
            (['--port', 0], 'nowhere.pth does not exist'),
        ]:
            assert main(['serve', str(tmp_path / 'nowhere.pth'), *map(str, args)]) == 2
            assert text in capsys.readouterr().err


def test_without_the_packages_the_extra_is_named():
    code = "import sys; sys.modules['uvicorn'] = None; from detkit.cli.main import main; sys.exit(main(['serve', 'x']))"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 2 and "pip install 'detkit[serve]'" in done.stderr
