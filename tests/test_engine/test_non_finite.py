"""Losses, gradients and weights that are infinite or not a number: three policies, and nothing of it is ever saved."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from processes import run_ranks

from detkit.engine import Runner, load_checkpoint
from detkit.engine.loss_log import NonFiniteLossError
from detkit.engine.non_finite import MAX_RESTORES, are_finite
from detkit.utils.errors import ConfigError

from .dummy import DummyDetector, dummy_config
from .test_resume import assert_same_end, kill_after, train


def with_policy(policy: str, bad_position: int = 6, **more) -> dict:
    """Changes of the config; position 6 is in the second of three batches of each epoch."""
    loader = {
        **dummy_config('')['train_dataloader'],
        'dataset': dict(type='DummyDataset', bad_position=bad_position),
    }
    return dict(
        train_dataloader=loader,
        train_cfg=dict(max_epochs=4, val_interval=2, log_interval=1, non_finite=policy),
        **more,
    )


def all_finite(checkpoint: dict) -> bool:
    return all(torch.isfinite(tensor).all() for part in ('model', 'state_dict') for tensor in checkpoint[part].values())


def test_a_batch_is_skipped(tmp_path, capsys):
    saved = train(tmp_path / 'run', **with_policy('skip'))
    assert saved['meta']['iter'] == 12 and all_finite(saved)
    out = capsys.readouterr().out
    assert out.count('skipped  iteration ') == 4 and '.jpg' in out
    rows = [json.loads(line) for line in (tmp_path / 'run' / 'scalars.json').read_text().splitlines()]
    assert all(math.isfinite(value) for row in rows for value in row.values())


def test_a_policy_that_is_not_needed_changes_nothing(tmp_path):
    a, b, c = (train(tmp_path / name, **with_policy(name, -1)) for name in ('stop', 'skip', 'restore'))
    assert_same_end(a, b)
    assert_same_end(a, c)


def test_skipping_is_resumed_exactly(tmp_path):
    straight = train(tmp_path / 'a', **with_policy('skip'))
    kill_after(tmp_path / 'b', 5, **with_policy('skip'))
    assert_same_end(straight, train(tmp_path / 'b', resume=True, **with_policy('skip')))


def test_a_step_with_bad_gradients_is_skipped(tmp_path, monkeypatch, capsys):
    """The loss is finite, its gradient is not; without a limit of the norm nobody else looks at it."""
    forward, calls = DummyDetector.forward, []

    def spoil(self, inputs, gt=None, data_samples=None, mode='tensor'):
        losses = forward(self, inputs, gt, data_samples, mode)
        if mode == 'loss' and torch.is_grad_enabled():
            calls.append(mode)
            if len(calls) == 5:
                zero = self.cls_head.bias.sum() * 0
                losses['loss_extra'] = losses['loss_extra'] + torch.where(zero > 1, zero.sqrt(), zero.detach())
        return losses

    monkeypatch.setattr(DummyDetector, 'forward', spoil)
    optim = dict(optimizer=dict(type='SGD', lr=0.05), accumulate=1, clip_grad_norm=None)
    saved = train(tmp_path / 'skip', **with_policy('skip', -1, optim_wrapper=optim))
    assert all_finite(saved) and capsys.readouterr().out.count('skipped  iteration ') == 1
    calls.clear()
    with pytest.raises(NonFiniteLossError, match='weights are infinite or not a number, and are not saved'):
        train(tmp_path / 'stop', **with_policy('stop', -1, optim_wrapper=optim))
    assert all_finite(load_checkpoint(tmp_path / 'stop' / 'last.pth'))


def test_too_many_in_a_row(tmp_path, monkeypatch):
    forward = DummyDetector.forward

    def spoil(self, inputs, gt=None, data_samples=None, mode='tensor'):
        return forward(self, inputs * math.nan if mode == 'loss' else inputs, gt, data_samples, mode)

    monkeypatch.setattr(DummyDetector, 'forward', spoil)
    with pytest.raises(NonFiniteLossError, match='iteration 10: .* for the 10th time in a row'):
        train(tmp_path / 'run', **with_policy('skip', -1))
    assert all_finite(load_checkpoint(tmp_path / 'run' / 'last.pth'))


def diverging(work_dir: Path, above: float, **more) -> Runner:
    """A run whose loss is NaN in iteration 5 where the learning rate is above a limit."""
    runner = Runner(dummy_config(work_dir, **with_policy('restore', -1), param_scheduler=None, **more))
    original = runner.call_hook

    def call_hook(name: str, **kwargs) -> None:
        if name == 'before_train_iter' and runner.iter == 4 and runner.learning_rates()['weight'] > above:
            kwargs['data_batch']['inputs'].fill_(math.nan)
        original(name, **kwargs)

    runner.call_hook = call_hook
    return runner


def test_the_last_checkpoint_is_restored_with_a_smaller_rate(tmp_path, capsys):
    runner = diverging(tmp_path / 'run', above=0.02)
    runner.train()
    assert runner.learning_rates()['weight'] == 0.05 / 4 and runner.train_loop.num_restores == 2
    saved = load_checkpoint(tmp_path / 'run' / 'last.pth')
    assert saved['meta']['iter'] == 12 and all_finite(saved) and saved['loop']['lr_factor'] == 0.25
    out = capsys.readouterr().out
    assert out.count('restored last.pth: epoch 2, iteration 2') == 2
    rows = [json.loads(line) for line in (tmp_path / 'run' / 'scalars.json').read_text().splitlines()]
    assert [row['iter'] for row in rows if 'lr/weight' in row] == list(range(1, 13))
    assert [row['lr/weight'] for row in rows if 'lr/weight' in row] == [0.05] * 4 + [0.0125] * 8


def test_a_restored_run_is_resumed_exactly(tmp_path):
    diverging(tmp_path / 'a', above=0.02).train()
    stopped = diverging(tmp_path / 'b', above=0.02)
    original = stopped.call_hook

    def call_hook(name: str, **kwargs) -> None:
        original(name, **kwargs)
        if name == 'after_fit_iter' and stopped.iter == 8:
            raise KeyboardInterrupt

    stopped.call_hook = call_hook
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    diverging(tmp_path / 'b', above=0.02, resume=True).train()
    assert_same_end(*(load_checkpoint(tmp_path / name / 'last.pth') for name in 'ab'))


def test_restoring_ends(tmp_path):
    runner = diverging(tmp_path / 'run', above=0.0)
    with pytest.raises(NonFiniteLossError, match='iteration 5'):
        runner.train()
    assert runner.train_loop.num_restores == MAX_RESTORES + 1
    assert all_finite(load_checkpoint(tmp_path / 'run' / 'last.pth'))


def test_nothing_to_restore(tmp_path):
    with pytest.raises(NonFiniteLossError, match='iteration 1'):
        train(tmp_path / 'run', **with_policy('restore', 1))


def test_policies_that_cannot_be(tmp_path):
    with pytest.raises(ConfigError, match="non_finite is 'ignore'; it must be one of stop, skip, restore"):
        train(tmp_path / 'a', **with_policy('ignore'))
    with pytest.raises(ConfigError, match='MultiStepLR only steps forward'):
        train(tmp_path / 'b', **with_policy('restore', param_scheduler=[dict(type='MultiStepLR', milestones=[2])]))


def test_runaway_values_are_found():
    assert are_finite([torch.ones(3), torch.arange(3), torch.zeros(0)]) and are_finite([])
    for bad in (math.nan, math.inf, 1e30):
        assert not are_finite([torch.ones(3), torch.tensor([1.0, bad])])


RANKS = """
import os, sys
import torch
from test_engine.dummy import dummy_config
from test_engine.test_non_finite import with_policy
from detkit.engine import Runner
changes = with_policy('skip')
changes['train_dataloader']['batch_size'] = 2
runner = Runner(dummy_config({work_dir!r}, launcher='pytorch', **changes))
runner.train()
print('sums', runner.iter, [float(value.detach().sum()) for value in runner.model.module.parameters()], flush=True)
torch.distributed.destroy_process_group()
sys.stdout.flush()
os._exit(0)  # the interpreter's own end may abort where a thread of gloo is still at work
"""


def test_processes_skip_the_same_batches(tmp_path):
    """Only one of two processes has the bad image; both leave the batch out, and their weights stay the same."""
    outputs = run_ranks(RANKS.format(work_dir=str(tmp_path / 'run')), 2)
    sums = [re.search(r'sums 12 \[.*\]', output).group() for output in outputs]
    assert sums[0] == sums[1] and 'nan' not in sums[0]
    lines = re.findall('skipped  iteration.*', outputs[0])
    assert len(lines) == 4 and all(line.count('.jpg') == 4 for line in lines)  # of both
    assert all_finite(load_checkpoint(tmp_path / 'run' / 'last.pth'))
