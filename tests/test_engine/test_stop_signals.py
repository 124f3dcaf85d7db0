"""A signal stops a run at an iteration, with a checkpoint from which it goes on as if never stopped."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from processes import Child, run_ranks

from detkit.engine import Runner, load_checkpoint
from detkit.engine.stop_signals import STOPPED_STATUS, StopSignals, TrainingStopped

from .dummy import dummy_config
from .test_resume import assert_same_end, one_thread, train  # noqa: F401, a fixture

NO_SAVES = dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=100)))


@pytest.fixture(scope='module')
def straight(tmp_path_factory) -> dict:
    return train(tmp_path_factory.mktemp('straight') / 'run')


def stop_at(work_dir: Path, point: str, count: int, number: int, **changes) -> TrainingStopped:
    """Train until ``number`` is raised when ``point`` is called for the ``count``-th time."""
    runner = Runner(dummy_config(work_dir, **NO_SAVES, **changes))
    original, calls = runner.call_hook, []

    def call_hook(name: str, **kwargs) -> None:
        original(name, **kwargs)
        if name == point:
            calls.append(name)
            if len(calls) == count:
                signal.raise_signal(number)

    runner.call_hook = call_hook
    with pytest.raises(TrainingStopped) as caught:
        runner.train()
    return caught.value


@pytest.mark.default_cases(3)
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize('count', [1, 2, 4, 8])
def test_a_checkpoint_of_that_very_iteration(straight, tmp_path, capsys, number, count):
    before = signal.getsignal(number)
    stopped = stop_at(tmp_path / 'run', 'after_train_iter', count, number)
    assert stopped.code == STOPPED_STATUS == 75 and signal.getsignal(number) is before
    saved = load_checkpoint(tmp_path / 'run' / 'last.pth')
    assert saved['meta']['iter'] == count
    assert f'stopped  by {number.name}' in capsys.readouterr().out
    assert_same_end(straight, train(tmp_path / 'run', resume=True))


def test_gradients_that_wait_for_a_step_are_kept(tmp_path):
    accumulated = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9), accumulate=3, amp='bf16'))
    straight = train(tmp_path / 'a', **accumulated)
    stop_at(tmp_path / 'b', 'before_train_iter', 5, signal.SIGTERM, **accumulated)
    assert load_checkpoint(tmp_path / 'b' / 'last.pth')['optimizer']['pending'] > 0
    assert_same_end(straight, train(tmp_path / 'b', resume=True, **accumulated))


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    'point, count, epoch, batch, pending',
    [
        ('after_train_epoch', 1, 1, 0, True),  # an epoch without a validation
        ('after_train_epoch', 2, 2, 0, True),
        ('after_val_iter', 1, 2, 0, True),
        ('after_val_iter', 4, 4, 0, True),  # the last validation of the run
        ('after_fit_epoch', 2, 2, 0, False),
        ('after_fit_epoch', 4, 4, 0, False),
    ],
)
def test_a_signal_at_an_end_of_an_epoch(straight, tmp_path, point, count, epoch, batch, pending):
    every = dict(train_cfg=dict(max_epochs=4, val_interval=2, log_interval=1))
    train(tmp_path / 'a', **every)
    stop_at(tmp_path / 'b', point, count, signal.SIGTERM, **every)
    saved = load_checkpoint(tmp_path / 'b' / 'last.pth')['loop']
    assert (saved['epoch'], saved['batch'], saved['val_pending']) == (epoch, batch, pending)
    assert_same_end(straight, train(tmp_path / 'b', resume=True, **every))
    for name in ('results.csv', 'scalars.json'):
        rows = [[line for line in (tmp_path / run / name).read_text().splitlines()] for run in 'ab']
        assert len(rows[0]) == len(rows[1])
    rows = [(tmp_path / run / 'results.csv').read_text().splitlines() for run in 'ab']
    without_time = [[line.split(',')[:1] + line.split(',')[2:] for line in table] for table in rows]
    assert without_time[0] == without_time[1]


def test_a_second_interrupt_ends_at_once(tmp_path):
    runner = Runner(dummy_config(tmp_path / 'run', **NO_SAVES))
    runner.train_loop.losses.read = lambda: [signal.raise_signal(signal.SIGINT) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_termination_waits_for_the_step(tmp_path):
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGTERM)
    assert signals.received == signals.agreed() == signal.SIGUSR1


def test_what_is_ignored_stays_ignored_and_other_threads_are_left_alone(tmp_path):
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            signal.raise_signal(signal.SIGUSR1)
        assert not signals.received
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    handlers = []

    def enter() -> None:
        with StopSignals():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [signal.SIG_DFL]


SCRIPT = """
import sys
from test_engine.dummy import dummy_config
from detkit.engine import Runner
loader = {{**dummy_config('')['train_dataloader'], 'num_workers': 2}}
runner = Runner(dummy_config({work_dir!r}, train_dataloader=loader, resume=True))
original = runner.call_hook
def call_hook(name, **kwargs):
    original(name, **kwargs)
    if name == 'before_train_iter' and runner.iter == {at}:
        print('iteration', flush=True)
        sys.stdin.readline()
runner.call_hook = call_hook
runner.train()
"""


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.skipif(not hasattr(signal, 'sigwaitinfo'), reason='workers cannot ask who sent SIGTERM')
def test_a_signal_to_the_whole_group_spares_the_workers(tmp_path, one_thread, number):  # noqa: F811
    """A terminal and Slurm signal workers, too: the step still gets its batch, and the process its status."""
    with Child(SCRIPT.format(work_dir=str(tmp_path / 'run'), at=4)) as process:
        for line in process.stdout:
            if line.strip() == 'iteration':
                break
        os.killpg(process.pid, number)
        printed = process.communicate('\n')
    assert process.returncode == STOPPED_STATUS, printed
    assert 'Traceback' not in printed and f'stopped  by {number.name}' in printed
    assert load_checkpoint(tmp_path / 'run' / 'last.pth')['meta']['iter'] == 5
    assert_same_end(train(tmp_path / 'other'), train(tmp_path / 'run', resume=True))


RANKS = """
import os, signal, sys
from pathlib import Path
import torch
from mmengine.dist import get_rank
from test_engine.dummy import dummy_config
from detkit.engine import Runner
from detkit.engine.stop_signals import TrainingStopped
loader = {{**dummy_config('')['train_dataloader'], 'batch_size': 2}}

def run(name, signal_at=None, **changes):
    runner = Runner(dummy_config(Path({folder!r}, name), launcher='pytorch', train_dataloader=loader,
        train_cfg=dict(max_epochs=3, log_interval=2),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=100)), **changes))
    original = runner.call_hook
    def call_hook(point, **kwargs):
        original(point, **kwargs)
        if point == 'after_train_iter' and runner.iter == signal_at and get_rank() == 1:
            signal.raise_signal(signal.SIGUSR1)
    runner.call_hook = call_hook
    runner.train()

run('straight')
try:
    run('stopped', signal_at=4)
except TrainingStopped as stop:
    print('stopped with', stop.code, flush=True)
run('stopped', resume=True)
torch.distributed.destroy_process_group()
sys.stdout.flush()
os._exit(0)  # the interpreter's own end may abort where a thread of gloo is still at work
"""


def test_processes_agree_on_the_step(tmp_path):
    """One of two processes gets the signal, in the fifth iteration; both stop after the sixth."""
    outputs = run_ranks(RANKS.format(folder=str(tmp_path)), 2)
    assert all('stopped with 75' in output for output in outputs)
    assert 'stopped  by SIGUSR1 after 2 epochs and 0 iterations' in outputs[0]
    straight, resumed = (load_checkpoint(tmp_path / name / 'last.pth') for name in ('straight', 'stopped'))
    assert_same_end(straight, resumed)


REPEATED = """
import atexit, os, signal, sys
sys.path.insert(0, {tests!r})
from detkit.engine import Runner
from test_engine.dummy import dummy_config

def send():
    for number in (signal.SIGUSR1, signal.SIGTERM):
        os.kill(os.getpid(), number)

atexit.register(send)
runner = Runner(dummy_config({work_dir!r}))
runner.stop_signals.ends_process = True
read = runner.train_loop.losses.read
runner.train_loop.losses.read = lambda: (send(), read())
close = runner.close
runner.close = lambda: (send(), close())
runner.train()
"""


@pytest.mark.thorough
def test_a_signal_that_comes_again_until_the_end(tmp_path):
    script = REPEATED.format(tests=str(Path(__file__).parents[1]), work_dir=str(tmp_path / 'run'))
    ended = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert ended.returncode == STOPPED_STATUS, ended.stderr
    assert load_checkpoint(tmp_path / 'run' / 'last.pth')['meta']['iter'] == 1
