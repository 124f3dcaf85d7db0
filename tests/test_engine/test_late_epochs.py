"""Hooks of the last epochs: going on from the best weights, one size of images, another assigner."""

from pathlib import Path
from typing import ClassVar

import pytest
import torch
from builders import CONFIGS
from torch import nn

from detkit.config import load_config
from detkit.engine import Runner, load_checkpoint
from detkit.engine.hooks import CloseMultiScaleHook, EMARestartHook, LossWeightHook, SwitchAssignerHook
from detkit.engine.schedule import WarmupDecay
from detkit.models.assigners import HungarianAssigner
from detkit.models.data_preprocessor import DetDataPreprocessor
from detkit.utils.errors import ConfigError

from .dummy import dummy_config
from .test_resume import assert_same_end, train_until_killed

pytestmark = pytest.mark.no_cover

EPOCHS = 6
VALUES = [0.1, 0.5, 0.2, 0.6, 0.3, 0.4]
HOOKS = dict(
    checkpoint=dict(type='CheckpointHook', interval_iters=1),
    ema=dict(type='EMAHook', decay=0.99, tau=5),
    restart=dict(type='EMARestartHook', num_epochs=3, decay=0.9, decay_step=0.1),
)


def config(work_dir: Path, resume: bool = False, **hooks) -> dict:
    return dummy_config(
        work_dir,
        resume=resume,
        train_cfg=dict(max_epochs=EPOCHS, val_interval=1),
        default_hooks={**HOOKS, **hooks},
    )


def fitness_by_epoch(runner: Runner, values: list[float]) -> Runner:
    """Let validations have these results."""
    runner.validate = lambda keep=False: {'coco/bbox_mAP': values[runner.epoch - 1], 'coco/bbox_mAP50': 0.0}
    return runner


def watch(runner: Runner) -> list[tuple[int, dict[str, torch.Tensor], float]]:
    """Collect epoch, weights and the averages' decay at the start of each epoch, after the hooks."""
    seen, original = [], runner.call_hook

    def call_hook(name: str, **kwargs) -> None:
        original(name, **kwargs)
        if name == 'before_train_epoch':
            weights = {key: value.clone() for key, value in runner.model.state_dict().items()}
            seen.append((runner.epoch, weights, runner.ema.decay))

    runner.call_hook = call_hook
    return seen


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_the_last_epochs_go_on_from_the_best_weights(tmp_path):
    runner = fitness_by_epoch(Runner(config(tmp_path / 'run')), VALUES)
    seen = watch(runner)
    runner.train()
    best = load_checkpoint(tmp_path / 'run' / 'best_before_restart.pth')
    assert best['meta']['epoch'] == 2
    starts = {epoch: (weights, decay) for epoch, weights, decay in seen}
    assert [round(starts[epoch][1], 6) for epoch in range(EPOCHS)] == [0.99, 0.99, 0.99, 0.9, 0.9, 0.8]
    # Epoch 4 is better than all before, so that training goes on from it; epoch 5 is not.
    assert [same(starts[epoch][0], best['model']) for epoch in range(2, EPOCHS)] == [True, True, False, True]
    assert load_checkpoint(tmp_path / 'run' / 'last.pth')['loop']['epoch'] == EPOCHS


def test_restart_keeps_epochs_and_random_draws(tmp_path):
    runner = fitness_by_epoch(Runner(config(tmp_path / 'run')), [0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    runner.train()
    last = load_checkpoint(tmp_path / 'run' / 'last.pth')
    assert last['loop']['iter'] == 3 * EPOCHS
    assert last['optimizer']['num_steps'] == runner.optim_wrapper.num_steps > 3 * EPOCHS // 2 - 3


@pytest.fixture(scope='module')
def straight(tmp_path_factory) -> dict:
    work_dir = tmp_path_factory.mktemp('straight') / 'run'
    fitness_by_epoch(Runner(config(work_dir)), VALUES).train()
    return load_checkpoint(work_dir / 'last.pth')


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('iterations', [8, 9, 10, 13, 15, 16])
def test_a_killed_run_resumes_bit_for_bit(straight, tmp_path, iterations):
    killed = fitness_by_epoch(Runner(config(tmp_path / 'run')), VALUES)
    train_until_killed(killed, 'after_fit_iter', lambda: killed.iter == iterations)
    fitness_by_epoch(Runner(config(tmp_path / 'run', resume=True)), VALUES).train()
    ends = straight, load_checkpoint(tmp_path / 'run' / 'last.pth')
    assert_same_end(*ends)
    assert ends[0]['hooks']['EMARestartHook'] == ends[1]['hooks']['EMARestartHook']


def test_without_a_validation_nothing_is_gone_back_to(tmp_path, capsys):
    cfg = config(tmp_path / 'run')
    cfg |= dict(val_dataloader=None, val_evaluator=None, val_cfg=None)
    Runner(cfg).train()
    assert 'no weights were validated' in capsys.readouterr().out
    assert not (tmp_path / 'run' / 'best_before_restart.pth').exists()


@pytest.mark.parametrize('epochs', [0, 3])
def test_images_have_one_size_in_the_last_epochs(tmp_path, epochs):
    hooks = dict(HOOKS, sizes=dict(type='CloseMultiScaleHook', num_epochs=epochs), restart=None)
    runner = Runner(config(tmp_path / 'run', **hooks))
    runner.model.data_preprocessor.__class__ = type(
        'Watched', (type(runner.model.data_preprocessor), DetDataPreprocessor), {}
    )
    runner.model.data_preprocessor.multi_scale = (0.5, 1.5)
    seen, original = [], runner.call_hook

    def call_hook(name: str, **kwargs) -> None:
        original(name, **kwargs)
        if name == 'before_train_epoch':
            seen.append(runner.model.data_preprocessor.multi_scale)

    runner.call_hook = call_hook
    runner.train()
    assert seen == [(0.5, 1.5)] * (EPOCHS - epochs) + [None] * epochs


def test_a_preprocessor_without_sizes_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r'is a DummyPreprocessor; leave the hook out \(default_hooks\.sizes=None\)'):
        Runner(config(tmp_path / 'run', sizes=dict(type='CloseMultiScaleHook', num_epochs=2))).train()


class Loop:
    epoch, max_epochs = 0, 10


class FakeRunner:
    """What the hook reads of a runner."""

    cfg: ClassVar[dict] = dict(default_hooks=dict(l1=dict(type='LossWeightHook'), other=None))

    def __init__(self, model: nn.Module) -> None:
        self.model, self.train_loop = model, Loop()


def test_the_assigner_changes_with_the_epoch():
    from builders import build_model

    late = dict(type='HungarianAssigner', match_costs=[dict(type='ScoreIoUCost')])
    runner = FakeRunner(build_model('deimv2', 3, size='atto'))
    hook = SwitchAssignerHook(4, late)
    hook.before_train(runner)
    costs = []
    for epoch in range(6):
        runner.train_loop.epoch = epoch
        hook.before_train_epoch(runner)
        assert isinstance(runner.model.head.assigner, HungarianAssigner)
        costs.append([type(cost).__name__ for cost in runner.model.head.assigner.match_costs])
    assert costs[3] == ['FocalClassCost', 'BBoxL1Cost', 'GIoUCost'] and costs[4] == costs[5] == ['ScoreIoUCost']
    # A resumed run has only its epoch to go by.
    resumed = FakeRunner(build_model('deimv2', 3, size='atto'))
    resumed.train_loop.epoch = 5
    hook = SwitchAssignerHook(4, late)
    hook.before_train(resumed)
    hook.before_train_epoch(resumed)
    assert [type(cost).__name__ for cost in resumed.model.head.assigner.match_costs] == ['ScoreIoUCost']


def test_an_assigner_of_another_kind_is_refused():
    from builders import build_model

    with pytest.raises(ConfigError, match='DFINEHead.assigner must follow QueryAssigner'):
        SwitchAssignerHook(1, dict(type='TaskAlignedAssigner')).before_train(
            FakeRunner(build_model('deim', 3, size='n'))
        )


@pytest.mark.parametrize(('num_epochs', 'expected'), [(3, [0, 0, 0, 1.5, 1.5, 1.5]), (0, [0] * 6)])
def test_a_loss_has_another_weight_in_the_last_epochs(num_epochs, expected):
    from builders import build_model

    hook = LossWeightHook(num_epochs, dict(loss_l1=1.5))
    weights = []
    for epoch in range(6):
        runner = FakeRunner(build_model('yolox_det', 3, 'meta', size='nano'))  # as a run that is resumed there
        runner.train_loop = Loop()
        runner.train_loop.epoch, runner.train_loop.max_epochs = epoch, 6
        hook.before_train(runner)
        hook.before_train_epoch(runner)
        weights.append(runner.model.head.loss_l1.loss_weight)
        assert runner.model.head.loss_bbox.loss_weight == 5
    assert weights == expected


def test_a_weight_of_a_loss_that_is_not_there_is_refused():
    from builders import build_model

    runner = FakeRunner(build_model('yolox_det', 3, 'meta', size='nano'))
    with pytest.raises(ConfigError, match="has 'loss_l2', but the losses of YOLOXHead are .*'loss_l1'"):
        LossWeightHook(1, dict(loss_l2=1.0)).before_train(runner)
    with pytest.raises(ConfigError, match=r'Name one of them, or leave the hook out \(default_hooks\.l1=None\)'):
        LossWeightHook(1, dict(weight=1.0)).before_train(runner)


@pytest.mark.parametrize('decay', [-0.1, 1.5])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(ConfigError, match='decay must be within'):
        EMARestartHook(2, decay=decay)
    CloseMultiScaleHook(0)


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('size', ['n', 's', 'l'])
@pytest.mark.parametrize('max_epochs', [1, 2, 20])
def test_runs_of_any_length_have_a_schedule(size, max_epochs):
    options = {'size': size, 'max_epochs': max_epochs}
    schedule = dict(load_config(CONFIGS / 'deim' / 'det_coco.py', options)['param_scheduler'])
    assert schedule.pop('type') == 'WarmupDecay'
    assert 0 <= WarmupDecay(**schedule).flat_epochs <= max(max_epochs, 4)
