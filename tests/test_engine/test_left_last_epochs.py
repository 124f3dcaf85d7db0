"""Hooks of the last epochs in a run that leaves these again: resumed with more epochs, or gone back to a checkpoint."""

from pathlib import Path

import pytest
import torch
from builders import build_model

from detkit.engine import Runner, load_checkpoint
from detkit.engine.hooks import CloseMultiScaleHook, EMARestartHook, LossWeightHook, SwitchAssignerHook

from .dummy import dummy_config
from .test_late_epochs import EPOCHS, HOOKS, FakeRunner, Loop, config, fitness_by_epoch, same, watch
from .test_non_finite import with_policy

MORE = 12


def extended(work_dir: Path, values: list[float]) -> Runner:
    cfg = config(work_dir, resume=True)
    cfg['train_cfg']['max_epochs'] = MORE
    return fitness_by_epoch(Runner(cfg), values)


def test_more_epochs_are_no_last_ones_until_their_own(tmp_path):
    """The run ends in an epoch that was no better, after which the next of the last epochs would be set back."""
    values = [0.1, 0.5, 0.2, 0.3, 0.2, 0.1, 0.2, 0.6, 0.3, 0.4, 0.4, 0.4]
    fitness_by_epoch(Runner(config(tmp_path / 'run')), values).train()
    end = load_checkpoint(tmp_path / 'run' / 'last.pth')['model']
    runner = extended(tmp_path / 'run', values)
    seen = watch(runner)
    runner.train()
    best = load_checkpoint(tmp_path / 'run' / 'best_before_restart.pth')
    assert best['meta']['epoch'] == 8  # the best of the first run was epoch 2
    starts = {epoch: (weights, decay) for epoch, weights, decay in seen}
    assert [round(starts[epoch][1], 6) for epoch in range(EPOCHS, MORE)] == [0.99, 0.99, 0.99, 0.9, 0.8, 0.7]
    assert same(starts[EPOCHS][0], end)
    assert [same(starts[epoch][0], best['model']) for epoch in range(8, MORE)] == [True, True, True, True]


def test_weights_alone_are_gone_back_to_as_averages(tmp_path, capsys):
    """The end of the first run reduced ``best.pth`` to weights, and no later epoch is better."""
    values = [0.1, 0.2, 0.2, 0.3, 0.2, 0.6, *[0.1] * 6]
    fitness_by_epoch(Runner(config(tmp_path / 'run')), values).train()
    best = load_checkpoint(tmp_path / 'run' / 'best.pth')
    assert 'loop' not in best and best['meta']['epoch'] == EPOCHS
    runner = extended(tmp_path / 'run', values)
    seen = watch(runner)
    runner.train()
    starts = {epoch: weights for epoch, weights, _ in seen}
    assert [same(starts[epoch], best['state_dict']) for epoch in range(8, MORE)] == [False, True, True, True]
    assert 'restart  from best_before_restart.pth, of epoch 6' in capsys.readouterr().out
    assert load_checkpoint(tmp_path / 'run' / 'last.pth')['loop']['epoch'] == MORE


def test_a_run_that_goes_back_before_the_last_epochs_begins_them_anew(tmp_path):
    """A loss that is no number in the first of the last epochs, after training was set back to the best weights."""
    cfg = dummy_config(tmp_path / 'run', **with_policy('restore', -1))
    cfg |= dict(default_hooks={**HOOKS, 'checkpoint': dict(type='CheckpointHook')}, param_scheduler=None)
    cfg['train_cfg'] |= dict(max_epochs=EPOCHS, val_interval=1)
    runner = fitness_by_epoch(Runner(cfg), [0.1, 0.5, 0.2, 0.6, 0.7, 0.8])
    seen, original = watch(runner), runner.call_hook
    spoilt = []

    def call_hook(name: str, **kwargs) -> None:
        if name == 'before_train_iter' and runner.epoch == 3 and not spoilt:
            spoilt.append(kwargs['data_batch']['inputs'].fill_(torch.nan))
        original(name, **kwargs)

    runner.call_hook = call_hook
    runner.train()
    assert [epoch for epoch, _, _ in seen] == [0, 1, 2, 3, 3, 4, 5]
    best = load_checkpoint(tmp_path / 'run' / 'best_before_restart.pth')
    assert same(seen[3][1], best['model']) and same(seen[4][1], best['model'])
    assert [round(decay, 6) for _, _, decay in seen] == [0.99] * 3 + [0.9] * 4


class Scaled(FakeRunner):
    def __init__(self) -> None:
        super().__init__(build_model('deimv2', 3, size='atto'))
        self.model.data_preprocessor.multi_scale = (0.5, 1.5)
        self.train_loop = Loop()


@pytest.mark.parametrize(
    ('hook', 'read'),
    [
        (CloseMultiScaleHook(4), lambda model: model.data_preprocessor.multi_scale),
        (LossWeightHook(4, dict(loss_bbox=9.0)), lambda model: model.head.loss_bbox.loss_weight),
        (
            SwitchAssignerHook(6, dict(type='HungarianAssigner', match_costs=[dict(type='ScoreIoUCost')])),
            lambda model: model.head.assigner,
        ),
    ],
    ids=['CloseMultiScaleHook', 'LossWeightHook', 'SwitchAssignerHook'],
)
def test_settings_of_the_last_epochs_end_with_them(hook, read):
    runner = Scaled()
    getattr(hook, 'before_train', lambda _: None)(runner)
    seen = []
    for epoch in (5, 6, 7, 5, 6):
        runner.train_loop.epoch = epoch
        hook.before_train_epoch(runner)
        seen.append(read(runner.model))
    before, late, later, again, last = seen
    assert before is not late and late is later is last and again is before


def test_a_state_without_a_restart_is_one(tmp_path):
    hook = EMARestartHook(3)
    hook.decay = 0.5
    hook.load_state_dict(EMARestartHook(3).state_dict())
    assert hook.decay is None and not hook.pending
