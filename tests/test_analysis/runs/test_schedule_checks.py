"""Schedules that do not come to their end within a run."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, LinearLR, MultiStepLR, StepLR

from detkit.analysis.runs.checklist import CheckList
from detkit.analysis.runs.schedule_checks import check_schedule
from detkit.engine.hooks import CloseTransformsHook
from detkit.engine.schedule import Schedules, WarmupDecay

EPOCHS, LENGTH = 20, 10


def found(*schedulers, accumulate=1, hooks=(), **loop):
    loop = {'max_epochs': EPOCHS, 'epoch_length': LENGTH, 'val_begin': 1, 'val_interval': 1, **loop}
    dataset = SimpleNamespace(mixing_transforms=('Mosaic',), active_epochs={})
    runner = SimpleNamespace(
        train_loop=SimpleNamespace(
            **loop, max_iters=loop['max_epochs'] * loop['epoch_length'], dataloader=SimpleNamespace(dataset=dataset)
        ),
        param_schedulers=Schedules(list(schedulers), LENGTH),
        hooks=list(hooks),
        optim_wrapper=SimpleNamespace(accumulate=accumulate),
        cfg={},
        resumed=True,
        started_from={},
    )
    checks = CheckList(lambda line: None)
    check_schedule(checks, runner)
    return checks.checks


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


def warmup_decay(**options):
    schedule = WarmupDecay(**options)
    schedule.start(SimpleNamespace(optimizer=optimizer(), accumulate=1), LENGTH, EPOCHS)
    return schedule


@pytest.mark.parametrize(
    'schedule',
    [
        warmup_decay(warmup_epochs=3),
        warmup_decay(warmup_epochs=0),
        CosineAnnealingLR(optimizer(), T_max=EPOCHS, end=EPOCHS),
        CosineAnnealingLR(optimizer(), T_max=EPOCHS),
        MultiStepLR(optimizer(), milestones=[8, 16]),
        StepLR(optimizer(), step_size=5),
        LinearLR(optimizer(), start_factor=0.1, end=30, by_epoch=False),
    ],
)
def test_one_that_fits(schedule):
    (check,) = found(schedule)
    assert (check.status, check.text) == ('passed', '20 epochs of 10 batches, 200 steps of the optimiser')


@pytest.mark.parametrize(
    ('schedule', 'text'),
    [
        (warmup_decay(warmup_epochs=20), 'as long as the whole run of 200'),
        (warmup_decay(warmup_epochs=3, warmup_min_iters=1000), 'the warm-up of 1,000 iterations'),
        (CosineAnnealingLR(optimizer(), T_max=300, end=300), 'CosineAnnealingLR ends after 300 epochs'),
        (CosineAnnealingLR(optimizer(), T_max=300), 'reaches its end after 300 epochs, but has 20'),
        (CosineAnnealingLR(optimizer(), T_max=5), 'after 5 of 20 epochs and rises again'),
        (MultiStepLR(optimizer(), milestones=[8, 60, 90]), 'milestones at 60, 90 epochs'),
        (StepLR(optimizer(), step_size=200), 'steps every 200 epochs'),
        (LinearLR(optimizer(), start_factor=0.1, end=500, by_epoch=False), 'LinearLR ends after 500 iterations'),
        (LinearLR(optimizer(), start_factor=0.1, begin=30, end=40), 'begins after 30 epochs'),
    ],
)
def test_one_that_does_not(schedule, text):
    (check,) = found(schedule)
    assert check.status == 'warned' and text in check.text and check.remedy


def test_too_few_steps():
    (check,) = found(warmup_decay(), accumulate=16)
    assert check.status == 'warned' and '12 steps of the optimiser' in check.text


def test_mosaic_that_is_never_made_and_validations_that_are_never_due():
    checks = found(warmup_decay(), hooks=[CloseTransformsHook(num_epochs=30)], val_interval=50)
    assert [check.title for check in checks if check.status == 'warned'] == ['mosaic', 'validation']
    assert [check.status for check in found(warmup_decay(), hooks=[CloseTransformsHook(num_epochs=10)])] == ['passed']
