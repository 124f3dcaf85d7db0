"""Trainings whose terminal is closed, or the reader of whose output has gone."""

import os
import select
import signal

import pytest
from processes import Child

from detkit.engine import Runner, load_checkpoint
from detkit.engine.stop_signals import STOPPED_STATUS

from .dummy import dummy_config
from .test_resume import assert_same_end, one_thread, train  # noqa: F401, a fixture

pytestmark = pytest.mark.skipif(os.name == 'nt', reason='needs terminals')

# Trains on a terminal, which is closed as the fifth iteration begins; the pipes of the process are for the test alone.
CLOSED = r"""
import fcntl, os, signal, sys, termios
from test_engine.dummy import dummy_config
from detkit.engine import Runner

terminal = os.open({terminal!r}, os.O_RDWR)
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
os.dup2(terminal, 1)
os.close(terminal)
sys.stdout = open(1, 'w', closefd=False)
signal.signal(signal.SIGHUP, {action})
runner = Runner(dummy_config({work_dir!r}))
assert runner.console.is_terminal
original = runner.call_hook

def call_hook(name, **kwargs):
    original(name, **kwargs)
    if name == 'before_train_iter' and runner.iter == 4:
        os.write(2, b'iteration\n')  # a bar would show what is printed
        sys.stdin.readline()

runner.call_hook = call_hook
runner.train()
"""


@pytest.mark.parametrize('action', ['signal.SIG_DFL', 'signal.SIG_IGN'])
def test_a_terminal_that_is_closed(tmp_path, one_thread, action):  # noqa: F811
    """SIGHUP stops training; where it is ignored, as in a job that is disowned, training goes on without a bar."""
    import pty

    master, slave = pty.openpty()
    script = CLOSED.format(terminal=os.ttyname(slave), action=action, work_dir=str(tmp_path / 'run'))
    with Child(script) as process:
        printed, shown, reached = '', b'', False
        while not reached:
            for ready in select.select([process.stdout, master], [], [])[0]:
                if ready == master:
                    shown += os.read(master, 4096)
                else:
                    line = process.stdout.readline()
                    printed, reached = printed + line, line in ('iteration\n', '')
        os.close(slave)
        os.close(master)
        printed += process.communicate('\n')
    assert b'1/4' in shown, printed
    is_ignored = action == 'signal.SIG_IGN'
    assert process.returncode == (0 if is_ignored else STOPPED_STATUS), printed
    assert 'Traceback' not in printed
    if not is_ignored:
        assert 'stopped  by SIGHUP' in (tmp_path / 'run' / 'train.log').read_text()
        assert load_checkpoint(tmp_path / 'run' / 'last.pth')['meta']['iter'] == 5
        train(tmp_path / 'run', resume=True)
    assert_same_end(train(tmp_path / 'other'), load_checkpoint(tmp_path / 'run' / 'last.pth'))


@pytest.mark.parametrize('interrupted', [False, True])
def test_a_reader_that_has_gone(tmp_path, monkeypatch, interrupted):
    """Ctrl+C ends ``tee`` before training is, which may be at an epoch's end, where a line is printed."""
    read, write = os.pipe()
    runner = Runner(dummy_config(tmp_path / 'run'))
    original = runner.call_hook

    def call_hook(name: str, **kwargs) -> None:
        if name == 'after_train_iter' and runner.iter == 5:
            os.close(read)
            if interrupted:
                signal.raise_signal(signal.SIGINT)
        original(name, **kwargs)

    runner.call_hook = call_hook
    with open(write, 'w', encoding='utf-8') as stream:
        monkeypatch.setattr('sys.stdout', stream)
        with pytest.raises(SystemExit) as caught:
            runner.train()
    assert caught.value.code == STOPPED_STATUS and caught.value.signal_name == ('SIGINT' if interrupted else 'SIGPIPE')
    saved = load_checkpoint(tmp_path / 'run' / 'last.pth')['loop']
    assert (saved['epoch'], saved['iter'], saved['val_pending']) == (2, 6, True)
    monkeypatch.undo()
    assert_same_end(train(tmp_path / 'other'), train(tmp_path / 'run', resume=True))


def test_a_reader_that_has_gone_before_training(tmp_path, monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with open(os.dup(write), 'w', encoding='utf-8') as stream:
        monkeypatch.setattr('sys.stdout', stream)
        with pytest.raises(BrokenPipeError):
            Runner(dummy_config(tmp_path / 'run'))
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    os.close(write)
