"""Schedules that do not come to their end within a run."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, LinearLR, MultiStepLR, StepLR

from detkit.analysis.runs.checklist import CheckList
from detkit.analysis.runs.schedule_checks import check_schedule
from detkit.engine.hooks import CloseTransformsHook
from detkit.engine.hooks.ema_hook import ModelEMA
from detkit.engine.hooks.switch_assigner_hook import SwitchAssignerHook
from detkit.engine.schedule import Schedules, WarmupDecay
from detkit.models.heads import QueryHead

EPOCHS, LENGTH = 20, 10


def found(*schedulers, accumulate=1, hooks=(), ema=None, head=None, resumed=True, **loop):
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
        ema=ema,
        model=SimpleNamespace(head=head),
        resumed=resumed,
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


def test_few_steps_of_a_head_that_learns_slowly():
    """From random weights queries need more steps than a dense head, from trained ones no more."""
    queries, dense = SimpleNamespace(few_steps_from_random=QueryHead.few_steps_from_random), SimpleNamespace()
    for head, resumed, status in ((queries, False, 'warned'), (dense, False, 'passed'), (queries, True, 'passed')):
        (check,) = found(warmup_decay(), head=head, resumed=resumed, max_epochs=40)
        assert check.status == status, (head, resumed)


@pytest.mark.parametrize(
    ('decay', 'tau', 'accumulate', 'is_old'),
    [(0.9999, 10, 1, True), (0.9999, 10, 4, True), (0.9999, 2000, 1, False), (0.993, 100, 1, False)],
)
def test_averages_that_stay_behind(decay, tau, accumulate, is_old):
    """200 steps of the optimiser each; the age is that of a simulation with an average of step numbers."""
    ema, age = ModelEMA(torch.nn.Linear(1, 1, bias=False), decay, tau), 200
    with torch.no_grad():
        for average in ema.state_dict().values():
            average.zero_()
        for step in range(1, 201):
            ema.model.weight.fill_(step)
            ema.update()
    age -= float(ema.state_dict()['weight'])
    (check,) = found(warmup_decay(), accumulate=accumulate, ema=ema, max_epochs=20 * accumulate)
    assert (check.status == 'warned') == is_old == (age > 80)
    assert not is_old or f'are {age:.0f} steps old' in check.text


def test_mosaic_that_is_never_made_and_validations_that_are_never_due():
    checks = found(warmup_decay(), hooks=[CloseTransformsHook(num_epochs=30)], val_interval=50)
    assert [check.title for check in checks if check.status == 'warned'] == ['schedule', 'validation']
    assert [check.status for check in found(warmup_decay(), hooks=[CloseTransformsHook(num_epochs=10)])] == ['passed']
    for options, never in (
        (dict(num_epochs=30, names=['Mosaic']), True),
        (dict(num_epochs=30, names=['RandomFlip']), False),
        (dict(num_epochs=10, start_epoch=10), True),
        (dict(num_epochs=10, start_epoch=9), False),
        (dict(num_epochs=0, start_epoch=20), True),
    ):
        checks = found(warmup_decay(), hooks=[CloseTransformsHook(**options)])
        assert any('CloseTransformsHook turns' in check.text for check in checks) == never, options


def test_an_assigner_of_the_end_that_begins_early():
    for epoch, status in ((1, 'warned'), (9, 'warned'), (10, 'passed'), (20, 'passed'), (21, 'warned')):
        (check,) = found(warmup_decay(), hooks=[SwitchAssignerHook(epoch, dict(type='HungarianAssigner'))])
        assert check.status == status, epoch
    assert 'after 1 of 20' in found(warmup_decay(), hooks=[SwitchAssignerHook(1, {})])[0].text
    assert 'but the run ends after 20' in found(warmup_decay(), hooks=[SwitchAssignerHook(21, {})])[0].text


def test_a_rate_that_never_falls():
    for flat, decay, status in ((1000, 'cosine', 'warned'), (19, 'cosine', 'passed'), (1000, 'constant', 'passed')):
        (check,) = found(warmup_decay(flat_epochs=flat, decay=decay))
        assert check.status == status, (flat, decay)
    assert 'begins to fall after 1000 epochs' in found(warmup_decay(flat_epochs=1000))[0].text
