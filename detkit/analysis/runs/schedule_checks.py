"""Checks of learning rates, accumulation and hooks over a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.optim.scheduler.param_scheduler import (
    CosineAnnealingParamScheduler,
    MultiStepParamScheduler,
    StepParamScheduler,
    _ParamScheduler,
)

from detkit.analysis.runs.checklist import CheckList
from detkit.datasets.pipeline_dataset import SwitchableDataset
from detkit.datasets.wrappers import leaf_datasets
from detkit.engine.hooks import CloseTransformsHook
from detkit.engine.schedule import WarmupDecay
from detkit.engine.start_notes import few_steps

if TYPE_CHECKING:
    from detkit.engine.runner import Runner

_ENDLESS = 10**9  # mmengine's mark for a scheduler without an end

Problem = tuple[str, str]  # what is wrong, what to do


def check_schedule(checks: CheckList, runner: Runner) -> None:
    """Check the schedule of a runner whose training is prepared."""
    loop = runner.train_loop
    problems = [
        problem
        for scheduler in runner.param_schedulers.schedulers
        for problem in (
            _of_warmup_decay(scheduler)
            if isinstance(scheduler, WarmupDecay)
            else _of_mmengine(scheduler, loop.max_epochs, loop.max_iters)
        )
    ]
    for text, remedy in problems:
        checks.warned('schedule', text, remedy)
    few = few_steps(runner)
    if few is not None:
        steps, made_of, remedy = few
        checks.warned('schedule', f'{made_of} are {steps} steps of the optimiser: too few to learn much', remedy)
    elif not problems:
        steps = loop.max_iters // runner.optim_wrapper.accumulate
        checks.passed(
            'schedule', f'{loop.max_epochs} epochs of {loop.epoch_length} batches, {steps:,} steps of the optimiser'
        )
    for hook in runner.hooks:
        if not isinstance(hook, CloseTransformsHook) or hook.names is not None:
            continue
        if hook.num_epochs >= loop.max_epochs and _has_mosaic(runner):
            checks.warned(
                'mosaic',
                f'CloseTransformsHook turns mosaic off for the last {hook.num_epochs} epochs, which '
                f'are all {loop.max_epochs}',
                'default_hooks.close_mosaic.num_epochs=... below max_epochs',
            )
    if loop.val_begin > loop.max_epochs or loop.val_interval > loop.max_epochs:
        checks.warned(
            'validation',
            f'of {loop.max_epochs} epochs only the last is validated, as val_begin is '
            f'{loop.val_begin} and val_interval {loop.val_interval}',
            'train_cfg.val_interval=1, to see how training goes and to keep the best weights',
        )


def _of_warmup_decay(schedule: WarmupDecay) -> list[Problem]:
    iters = schedule.max_epochs * schedule.epoch_length
    if schedule.warmup_iters < iters:
        return []
    return [
        (
            f'the warm-up of {schedule.warmup_iters:,} iterations is as long as the whole run of {iters:,}, so that '
            'the full learning rate is never reached',
            'param_scheduler.warmup_epochs=... or .warmup_min_iters=... shorter, or more epochs',
        )
    ]


def _of_mmengine(scheduler: _ParamScheduler, max_epochs: int, max_iters: int) -> list[Problem]:
    """Return the problems of one of mmengine's schedulers, which do not know how long a run is."""
    total, unit = (max_epochs, 'epochs') if scheduler.by_epoch else (max_iters, 'iterations')
    name, begin, end = type(scheduler).__name__, scheduler.begin, scheduler.end
    if begin >= total:
        return [(f'{name} begins after {begin} {unit}, but the run has {total}', f'begin below {total}')]
    problems = []
    if total < end < _ENDLESS:
        problems.append(
            (
                f'{name} ends after {end} {unit}, but the run after {total}: what it is to reach is never reached',
                f'end={total}, or as many epochs as it needs',
            )
        )
    period = scheduler.T_max if isinstance(scheduler, CosineAnnealingParamScheduler) else None
    last = min(end, total) - begin
    if period is not None and period > last and not problems:
        problems.append((f'{name} reaches its end after {period} {unit}, but has {last} of the run', f'T_max={last}'))
    elif period is not None and period < last:
        problems.append(
            (
                f'{name} reaches its end after {period} of {last} {unit} and rises again from there',
                f'T_max={last}, unless that is meant',
            )
        )
    milestones = scheduler.milestones if isinstance(scheduler, MultiStepParamScheduler) else ()
    late = sorted(step for step in milestones if step >= total)
    if late:
        problems.append(
            (
                f'{name} has milestones at {", ".join(map(str, late))} {unit}, but the run has {total}',
                f'milestones below {total}',
            )
        )
    if isinstance(scheduler, StepParamScheduler) and begin + scheduler.step_size >= total:
        text = f'{name} steps every {scheduler.step_size} {unit}, but the run has {total}'
        problems.append((text, f'step_size below {total - begin}'))
    return problems


def _has_mosaic(runner: Runner) -> bool:
    leaves = leaf_datasets(runner.train_loop.dataloader.dataset)
    return any(isinstance(leaf, SwitchableDataset) and leaf.mixing_transforms for leaf in leaves)
