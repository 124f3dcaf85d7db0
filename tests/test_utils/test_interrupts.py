"""Ctrl+C as a script of a user's own ends, while a thread is still in PyTorch."""

import signal
import subprocess
import sys
import threading
import time

import pytest
from small_models import write_shallow_checkpoint

from detkit.engine import base_runner
from detkit.engine.runner import Runner
from detkit.utils import interrupts
from detkit.utils.errors import ConfigError

SCRIPT = """if True:
    import sys, threading, time, torch
    from detkit.inference import Predictor

    def compute():
        end = time.monotonic() + 60
        while time.monotonic() < end:
            torch.randn(64, 64) @ torch.randn(64, 64)

    Predictor(None, sys.argv[1], device='cpu')
    try:
        print('started', flush=True)
        time.sleep(60)
    except KeyboardInterrupt:  # as always while the script runs
        threading.Thread(target=compute).start()
        print('interrupted', flush=True)
"""


@pytest.mark.skipif(not hasattr(threading, '_register_atexit'), reason='Python has no place before its wait')
def test_an_interrupt_at_the_end_of_a_script_ends_it(tmp_path):
    path = write_shallow_checkpoint(tmp_path / 'det.pth', 'det')
    command = [sys.executable, '-c', SCRIPT, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'started\n'
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == 'interrupted\n'
    time.sleep(1)  # until it waits; an interrupt before that is one more of the script's
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert process.returncode == -signal.SIGINT
    assert 'terminate called' not in process.communicate()[1]


def test_a_runner_asks_for_it(monkeypatch):
    asked = []
    monkeypatch.setattr(base_runner, 'die_of_interrupts_at_exit', lambda: asked.append(1))
    with pytest.raises(ConfigError):
        Runner(dict(model=dict(type='SingleStageDetector')))
    assert asked


def test_a_handler_of_ones_own_stays(monkeypatch):
    def own(number, frame):
        raise AssertionError

    before = signal.signal(signal.SIGINT, own)
    try:
        interrupts.die_of_interrupts()
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_where_python_ends_already_nothing_is_asked(monkeypatch):
    def refuse(function):
        raise RuntimeError("can't register atexit after shutdown")

    monkeypatch.setattr(threading, '_register_atexit', refuse, raising=False)
    interrupts.die_of_interrupts_at_exit.__wrapped__()
    monkeypatch.delattr(threading, '_register_atexit')
    interrupts.die_of_interrupts_at_exit.__wrapped__()
