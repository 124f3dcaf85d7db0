"""Components of mmengine and torch train here, or are refused when a config is loaded."""

import pytest
from mmengine.config import Config

from detkit.config import check_config
from detkit.config.mmengine_parts import refusal
from detkit.engine import Runner
from detkit.registry import HOOKS, OPTIMIZERS, PARAM_SCHEDULERS
from detkit.utils.errors import ConfigError

from .dummy import dummy_config

SETTINGS = {
    'Constant': {'factor': 0.5, 'end': 9},
    'CosineAnnealing': {'T_max': 2},
    'CosineRestart': {'periods': [2, 4], 'restart_weights': [1, 0.5], 'eta_min': 0.0},
    'Exponential': {'gamma': 0.9},
    'MultiStep': {'milestones': [1]},
    'OneCycle': {'eta_max': 0.1, 'total_steps': 20, 'by_epoch': False},
    'Step': {'step_size': 1},
}
PRETRAINED = dict(
    type='SingleStageDetector',
    backbone=dict(type='CSPDarknet', init_cfg=dict(type='Pretrained', checkpoint='a.pth')),
    head=dict(type='YOLOv8Head', num_classes=1),
)


def usable(registry) -> list[str]:
    return sorted(name for name in registry.names() if name != 'auto' and not refusal(registry.get(name)))


def train(tmp_path, **changes) -> Runner:
    cfg = dummy_config(tmp_path / 'run', **{'train_cfg': dict(max_epochs=2, val_interval=2), **changes})
    check_config(Config(cfg))
    runner = Runner(cfg)
    runner.train()
    return runner


@pytest.mark.default_cases(7)
@pytest.mark.parametrize('name', [name for name in usable(PARAM_SCHEDULERS) if name != 'WarmupDecay'])
def test_a_schedule_changes_its_value(tmp_path, name):
    curve = name.removesuffix('ParamScheduler').removesuffix('LR').removesuffix('Momentum')
    extra = {'param_name': 'lr'} if name.endswith('ParamScheduler') else {}
    runner = train(tmp_path, param_scheduler=[dict(type=name, **SETTINGS.get(curve, {}), **extra)])
    group = runner.optim_wrapper.optimizer.param_groups[0]
    assert (group['lr'], group['momentum']) != (0.05, 0.9)


@pytest.mark.default_cases(3)
@pytest.mark.parametrize('name', [name for name in usable(OPTIMIZERS) if name != 'Muon'])  # it takes matrices alone
def test_an_optimiser_trains(tmp_path, name):
    changed = dict(optimizer=dict(type=name, lr=0.05), accumulate=1, amp=False)
    runner = train(tmp_path, optim_wrapper=changed)
    assert runner.epoch == 2 and type(runner.optim_wrapper.optimizer).__name__ in (name, name.removeprefix('Torch'))


@pytest.mark.parametrize('name', ['EmptyCacheHook', 'ProfilerHook'])
def test_a_hook_works(tmp_path, name):
    assert not refusal(HOOKS.get(name))
    assert train(tmp_path, custom_hooks=[dict(type=name)]).epoch == 2


@pytest.mark.parametrize(
    'change, sentence',
    [
        (dict(custom_hooks=[dict(type='LoggerHook')]), "custom_hooks.0.type: mmengine's LoggerHook .* log_to"),
        (dict(custom_hooks=[dict(type='ParamSchedulerHook')]), 'the loop sets the rates by param_scheduler'),
        (dict(custom_hooks=[dict(type='IterTimerHook')]), 'ConsoleHook shows'),
        (dict(custom_hooks=[dict(type='RuntimeInfoHook')]), 'ScalarLogHook logs'),
        (dict(default_hooks=dict(ema=dict(type='mmengine.EMAHook'))), 'default_hooks.ema.type: .* without a prefix'),
        (dict(default_hooks=dict(checkpoint=dict(type='mmengine.CheckpointHook'))), 'without a prefix'),
        (dict(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1)), 'train_cfg.type: .* use TrainLoop'),
        (dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=1)), 'use TrainLoop'),
        (dict(val_cfg=dict(type='mmengine.ValLoop')), "mmengine's ValLoop"),
        (dict(param_scheduler=dict(type='ReduceOnPlateauLR')), 'use WarmupDecay'),
        (dict(optim_wrapper=dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=1.0))), 'use Accumulating'),
        (dict(optim_wrapper=dict(optimizer=dict(type='LBFGS'))), 'optim_wrapper.optimizer.type: .* use SGD'),
        (dict(optim_wrapper=dict(constructor='DefaultOptimWrapperConstructor')), 'use GroupOptimConstructor'),
        (dict(model=PRETRAINED), 'model.backbone.init_cfg.type: .* set load_from'),
        (dict(val_evaluator=[dict(type='DumpResults', out_file_path='a.pkl')]), 'detkit test --out'),
        (dict(train_dataloader=dict(sampler=dict(type='DefaultSampler'))), 'use EpochSampler'),
        (dict(train_dataloader=dict(collate_fn=dict(type='pseudo_collate'))), 'use collate'),
        (dict(train_dataloader=dict(dataset=dict(type='mmengine.RepeatDataset'))), "mmengine's RepeatDataset"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_what_does(tmp_path, change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_config(Config(dummy_config(tmp_path / 'run', **change)))


def test_a_refused_name_is_not_proposed(tmp_path):
    cfg = dummy_config(tmp_path / 'run', custom_hooks=[dict(type='LogerHook')])
    with pytest.raises(ConfigError, match="no hook 'LogerHook'") as error:
        check_config(Config(cfg))
    assert "'LoggerHook'" not in str(error.value) and ' LoggerHook' not in str(error.value)
