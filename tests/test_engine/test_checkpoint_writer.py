"""Checkpoints written in the background: the state of their iteration, whatever training does meanwhile."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from detkit.engine import Runner, checkpoint_writer, load_checkpoint
from detkit.engine.checkpoint import save_checkpoint
from detkit.engine.checkpoint_writer import CheckpointWriter, snapshot
from detkit.engine.hooks import checkpoint_hook
from detkit.engine.training_state import capture_training_state
from detkit.utils.files import SaveError
from detkit.utils.torch_files import load_plain

from .dummy import dummy_config
from .test_resume import assert_same_end, train

NO_SAVES = dict(type='CheckpointHook', interval=100)


class Gate:
    """Holds back every write until it is opened."""

    def __init__(self, monkeypatch) -> None:
        self.open = threading.Event()
        monkeypatch.setattr(checkpoint_writer, 'save_checkpoint', self.save)

    def save(self, checkpoint: dict, path: Path) -> None:
        assert self.open.wait(20)
        save_checkpoint(checkpoint, path)


@pytest.fixture
def gate(monkeypatch) -> Gate:
    return Gate(monkeypatch)


@pytest.mark.parametrize('ema', [True, False])
@pytest.mark.parametrize('optimizer', [dict(type='SGD', lr=0.05, momentum=0.9), dict(type='AdamW', lr=0.01)])
def test_the_file_is_that_of_a_synchronous_write(tmp_path, monkeypatch, gate, ema, optimizer):
    """A write of the fifth iteration starts only after the eighth one, and makes the same bytes."""
    captured = []

    def capture(runner, metrics=None) -> dict:
        captured.append(capture_training_state(runner, metrics))
        return captured[-1]

    monkeypatch.setattr(checkpoint_hook, 'capture_training_state', capture)
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=100, interval_iters=5))
    changes = dict(
        optim_wrapper=dict(optimizer=optimizer, accumulate=2, amp=False),
        train_cfg=dict(max_epochs=4, val_interval=4),  # a validation would write best.pth before
    )
    runner = Runner(
        dummy_config(tmp_path / 'run', default_hooks={**hooks, **({} if ema else {'ema': None})}, **changes)
    )
    original, last, synchronous = runner.call_hook, tmp_path / 'run' / 'last.pth', tmp_path / 'synchronous.pth'

    def call_hook(name: str, **kwargs) -> None:
        original(name, **kwargs)
        if name != 'after_fit_iter':
            return
        if runner.iter == 4:
            gate.open.clear()  # training waited for the first epoch's checkpoint
        if runner.iter == 5:
            save_checkpoint(captured[-1], synchronous)
        if runner.iter == 8:
            assert load_checkpoint(last)['meta']['iter'] == 3
            save_checkpoint(captured[-1], tmp_path / 'later.pth')  # the live tensors, which training has changed
            gate.open.set()
            runner.checkpoint_writer.wait()
            assert last.read_bytes() == synchronous.read_bytes() != (tmp_path / 'later.pth').read_bytes()

    runner.call_hook = call_hook
    gate.open.set()
    runner.train()
    assert (tmp_path / 'later.pth').exists()


def test_a_copy_shares_what_the_original_shares():
    weights = torch.arange(24.0).view(2, 3, 4).permute(2, 0, 1)
    shared = {'weights': weights, 'view': weights[1:], 'parameter': nn.Parameter(torch.ones(2))}
    value = {
        'a': shared,
        'b': shared,
        'numbers': [1, (2, [torch.tensor(3)])],
        'empty': [torch.zeros(0), torch.ones(0, 2)],
    }
    copied = snapshot(value)
    assert copied['a'] is copied['b'] is not shared
    for name, tensor in shared.items():
        other = copied['a'][name]
        assert torch.equal(other, tensor) and other.stride() == tensor.stride() and not other.requires_grad
        assert other.data_ptr() != tensor.data_ptr()
    weights.zero_()
    assert copied['a']['weights'][1, 0, 0] == 1 and copied['numbers'][1][1][0] == 3
    copied['a']['weights'].zero_()
    assert not copied['a']['view'].any()
    assert [tuple(tensor.shape) for tensor in copied['empty']] == [(0,), (0, 2)]


@pytest.mark.parametrize('background', [True, False])
def test_a_run_is_the_same_either_way(tmp_path, background):
    hook = dict(checkpoint=dict(type='CheckpointHook', interval_iters=1, background=background))
    assert_same_end(
        train(tmp_path / 'a', default_hooks=hook), train(tmp_path / 'b', default_hooks=dict(checkpoint=NO_SAVES))
    )
    assert not list((tmp_path / 'a').glob('.*.tmp'))


def test_one_write_at_a_time(tmp_path, gate):
    writer = CheckpointWriter(print)
    writer.write({'number': 1}, [tmp_path / 'a.pth', tmp_path / 'b.pth'])
    writer.report_finished()
    assert not list(tmp_path.iterdir())
    second = threading.Thread(target=writer.write, args=({'number': 2}, [tmp_path / 'b.pth']))
    second.start()
    second.join(0.2)
    assert second.is_alive()  # it waits for the first
    gate.open.set()
    second.join(60)
    writer.wait()
    assert [torch.load(tmp_path / name)['number'] for name in ('a.pth', 'b.pth')] == [1, 2]


def test_what_is_no_plain_value_is_an_error_at_once(tmp_path):
    with pytest.raises(TypeError, match=r"checkpoint\['model'\] is a Linear"):
        CheckpointWriter(print).write({'model': nn.Linear(1, 1)}, [tmp_path / 'a.pth'])


def test_an_error_of_another_kind_is_raised_at_the_next_look(tmp_path, monkeypatch):
    def fail(checkpoint: dict, path: Path) -> None:
        raise ValueError('a fault of its own')

    monkeypatch.setattr(checkpoint_writer, 'save_checkpoint', fail)
    with pytest.raises(ValueError, match='a fault of its own'):
        train(tmp_path / 'run')
    writer = CheckpointWriter(print)
    writer.write({}, [tmp_path / 'a.pth'])
    with pytest.raises(ValueError, match='a fault of its own'):
        writer.wait()
    writer.wait()


def test_errors_of_the_disk_are_noted_and_forgotten_when_the_file_is_written(tmp_path):
    lines = []
    writer, path = CheckpointWriter(lines.append), tmp_path / 'gone' / 'last.pth'
    writer.write({}, [path, tmp_path / 'best.pth'])
    writer.wait()
    assert isinstance(writer.errors.pop(path), SaveError) and not writer.errors and (tmp_path / 'best.pth').exists()
    assert len(lines) == 1 and 'its folder is gone' in lines[0] and lines[0].endswith('The run goes on.')
    writer.write({}, [path])
    writer.wait()
    path.parent.mkdir()
    writer.write({}, [path])
    writer.wait()
    assert not writer.errors and len(lines) == 2


def test_the_files_of_one_state_are_the_same_and_each_its_own(tmp_path):
    writer, paths = CheckpointWriter(print), [tmp_path / 'best.pth', tmp_path / 'last.pth']
    writer.write({'weights': torch.arange(1000.0)}, paths)
    writer.wait()
    best, last = paths
    assert best.read_bytes() == last.read_bytes() and not best.samefile(last)
    (tmp_path / 'last.pth').unlink()
    (tmp_path / 'last.pth').mkdir()  # which no file can replace
    writer.write({'weights': torch.ones(2)}, paths)
    writer.wait()
    assert list(writer.errors) == [last] and load_plain(best)['weights'].tolist() == [1, 1]


def test_a_run_that_fails_waits_for_its_checkpoint(tmp_path, gate):
    runner = Runner(dummy_config(tmp_path / 'run'))
    original = runner.call_hook

    def call_hook(name: str, **kwargs) -> None:
        if name == 'before_train_iter' and runner.iter == 1:
            gate.open.clear()  # training waited for the first checkpoint
        original(name, **kwargs)
        if name == 'after_fit_iter' and runner.iter == 2:
            threading.Timer(0.2, gate.open.set).start()
            raise RuntimeError('a fault of a hook')

    runner.call_hook = call_hook
    gate.open.set()
    with pytest.raises(RuntimeError, match='a fault of a hook'):
        runner.train()
    assert load_checkpoint(tmp_path / 'run' / 'last.pth')['meta']['iter'] == 2


SCRIPT = """
import sys, time
from pathlib import Path
from detkit.engine import checkpoint_writer
original = checkpoint_writer.save_checkpoint
def save(checkpoint, path):
    time.sleep(1)
    original(checkpoint, path)
checkpoint_writer.save_checkpoint = save
checkpoint_writer.CheckpointWriter(print).write({'number': 1}, [Path(sys.argv[1])])
sys.exit(3)
"""


def test_python_waits_for_the_write_before_it_ends(tmp_path):
    path = tmp_path / 'last.pth'
    assert subprocess.run([sys.executable, '-c', SCRIPT, str(path)]).returncode == 3
    assert torch.load(path) == {'number': 1}
