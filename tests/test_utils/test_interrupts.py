"""Signals that end a process: Ctrl+C while a thread is still in PyTorch, and SIGTERM and SIGHUP of a command."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from processes import Child, free_ports
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


@pytest.mark.thorough
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


COMMAND = """if True:
    import os, signal, sys, time
    from detkit.cli.command import run_command
    from detkit.utils.files import replacing

    def main():
        with replacing(sys.argv[1]) as file:
            file.write(b'half')
            print('started', flush=True)
            sys.stdin.readline()
            file.write(b' and half')

    if sys.argv[2] == 'ignored':
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.exit(run_command(main, ends_process=True))
"""


def signalled(path, *numbers: int, action: str = '') -> int:
    """Send signals to a command that writes a file; return its status."""
    command = [sys.executable, '-c', COMMAND, str(path), action]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b'started\n'
        for number in numbers:
            process.send_signal(number)
        assert process.communicate(b'\n')[1] == b''
    return process.returncode


@pytest.mark.skipif(os.name == 'nt', reason='needs signals')
@pytest.mark.parametrize('name', ['SIGTERM', 'SIGHUP'])
def test_a_signal_that_ends_a_command_leaves_no_temporary_file(tmp_path, name):
    number = getattr(signal, name)
    assert signalled(tmp_path / 'file', number) == -number
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == 'nt', reason='needs signals')
def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """As SIGHUP under nohup."""
    assert signalled(tmp_path / 'file', signal.SIGHUP, action='ignored') == 0
    assert (tmp_path / 'file').read_text() == 'half and half'


LAUNCHED = """
import os, signal
from detkit.engine.launch import init_distributed
from detkit.utils.interrupts import end_as_interrupted
signal.signal(signal.SIGHUP, signal.SIG_IGN)
end_as_interrupted()
print(signal.getsignal(signal.SIGTERM).__name__, signal.getsignal(signal.SIGHUP).name, flush=True)
if os.fork() == 0:
    print('forked', signal.getsignal(signal.SIGTERM).name, flush=True)
    os._exit(0)
os.wait()
init_distributed('pytorch', 'cpu')
print('launched', signal.getsignal(signal.SIGTERM).name, signal.getsignal(signal.SIGHUP).name, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(os.name == 'nt', reason='needs signals')
def test_processes_that_wait_in_pytorch_end_at_once():
    """Those of a group, which wait for each other, and workers, which are forked."""
    (port,) = free_ports()
    group = {'RANK': '0', 'LOCAL_RANK': '0', 'WORLD_SIZE': '1', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port}
    with Child(LAUNCHED, variables=group) as process:
        printed = process.communicate()
    assert printed.splitlines() == ['_terminate SIG_IGN', 'forked SIG_DFL', 'launched SIG_DFL SIG_IGN']
