"""Schedules, averages of weights and hooks that do not fit the length of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from detkit.datasets.pipeline_dataset import PipelineDataset, SwitchableDataset
from detkit.datasets.transforms.choice import nested_transforms
from detkit.datasets.wrappers import leaf_datasets
from detkit.engine.hooks.close_transforms_hook import CloseTransformsHook
from detkit.engine.hooks.ema_hook import ModelEMA
from detkit.engine.hooks.switch_assigner_hook import SwitchAssignerHook
from detkit.engine.schedule import WarmupDecay

if TYPE_CHECKING:
    from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

    from detkit.engine.runner import Runner

_ENDLESS = 10**9  # mmengine's mark for a scheduler without an end
# The averaged weights are too old where their mean age is more than this share of the run. The decays of the recipes,
# which grow with the number of steps, stay below it whatever the length of a run.
_TOO_OLD = 0.4

Problem = tuple[str, str]  # what is wrong, what to do


def schedule_problems(runner: Runner) -> list[Problem]:
    """Return what of the schedule of a prepared training does not fit the length of the run."""
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
    if runner.ema is not None:
        problems += _of_average(runner.ema, loop.max_iters // runner.optim_wrapper.accumulate)
    for hook in runner.hooks:
        if isinstance(hook, CloseTransformsHook):
            problems += _of_closed_transforms(hook, runner)
        elif isinstance(hook, SwitchAssignerHook):
            problems += _of_late_assigner(hook, loop.max_epochs)
    return problems


def mean_age(ema: ModelEMA, num_steps: int) -> float:
    """Return how many steps old the averaged weights are on average, after ``num_steps`` of the optimiser."""
    if num_steps * (1 - ema.decay) > 10:  # then the weights of the beginning are forgotten
        return ema.decay / (1 - ema.decay)
    age = 0.0
    for step in range(1, num_steps + 1):
        age = ema.decay * (1 - math.exp(-step / ema.tau)) * (age + 1)
    return age


def _of_average(ema: ModelEMA, num_steps: int) -> list[Problem]:
    age = mean_age(ema, num_steps)
    if age <= _TOO_OLD * num_steps:
        return []
    return [
        (
            f'at the end of the run, after {num_steps:,} steps of the optimiser, the averaged weights, which are '
            f'validated and saved, are {age:,.0f} steps old on average',
            f'default_hooks.ema.decay=... below {ema.decay:g} or .tau=... above {ema.tau:g}, or more epochs',
        )
    ]


def _of_closed_transforms(hook: CloseTransformsHook, runner: Runner) -> list[Problem]:
    """Return the problem of a hook that leaves transforms no epoch of the run."""
    max_epochs = runner.train_loop.max_epochs
    never: dict[str, None] = {}
    for leaf in leaf_datasets(runner.train_loop.dataloader.dataset):
        if not isinstance(leaf, SwitchableDataset):
            continue
        transforms = nested_transforms(leaf.transforms) if isinstance(leaf, PipelineDataset) else ()
        present = {*leaf.mixing_transforms, *(type(transform).__name__ for transform in transforms)}
        for name, (start, stop) in hook.active_epochs(leaf.mixing_transforms, max_epochs).items():
            if name in present and start >= (max_epochs if stop is None else stop):
                never[name] = None
    if not never:
        return []
    early = f' and for the first {hook.start_epoch}' if hook.start_epoch else ''
    return [
        (
            f'CloseTransformsHook turns {", ".join(never)} off for the last {hook.num_epochs} epochs{early}, which are '
            f'all {max_epochs}',
            'its num_epochs=... (plain_epochs=... where a config has it) and start_epoch=... smaller, or more epochs, '
            'unless that is meant',
        )
    ]


def _of_late_assigner(hook: SwitchAssignerHook, max_epochs: int) -> list[Problem]:
    """Return the problem of a hook whose assigner, meant for the end of a run, has most of it, or nothing."""
    if hook.epoch > max_epochs:
        return [
            (
                f'SwitchAssignerHook gives the head the assigner of the last epochs after {hook.epoch} epochs, but the '
                f'run ends after {max_epochs}',
                'default_hooks.switch_assigner.epoch=... (switch_epochs=... of DEIMv2, 0 for none) within the run',
            )
        ]
    if hook.epoch >= max_epochs / 2:
        return []
    return [
        (
            f'SwitchAssignerHook gives the head the assigner of the last epochs after {hook.epoch} of {max_epochs}',
            'default_hooks.switch_assigner.epoch=... (switch_epochs=... of DEIMv2) nearer to the end, unless that is '
            'meant',
        )
    ]


def _of_warmup_decay(schedule: WarmupDecay) -> list[Problem]:
    iters = schedule.max_epochs * schedule.epoch_length
    problems = []
    if schedule.decay != 'constant' and 0 < schedule.max_epochs <= schedule.flat_epochs:
        problems.append(
            (
                f'the learning rate begins to fall after {schedule.flat_epochs:g} epochs, but the run has '
                f'{schedule.max_epochs}, so that it never falls',
                f'param_scheduler.flat_epochs=... (mosaic_epochs=... of DEIM) below {schedule.max_epochs}',
            )
        )
    if schedule.warmup_iters < iters:
        return problems
    return [
        *problems,
        (
            f'the warm-up of {schedule.warmup_iters:,} iterations is as long as the whole run of {iters:,}, so that '
            'the full learning rate is never reached',
            'param_scheduler.warmup_epochs=... or .warmup_min_iters=... shorter, or more epochs',
        ),
    ]


def _of_mmengine(scheduler: _ParamScheduler, max_epochs: int, max_iters: int) -> list[Problem]:
    """Return the problems of one of mmengine's schedulers, which do not know how long a run is."""
    from mmengine.optim.scheduler.param_scheduler import (  # here, as most runs have none of them
        CosineAnnealingParamScheduler,
        MultiStepParamScheduler,
        StepParamScheduler,
    )

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
