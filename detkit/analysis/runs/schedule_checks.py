"""Checks of learning rates, accumulation and hooks over a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detkit.analysis.runs.checklist import CheckList
from detkit.engine.schedule_problems import schedule_problems
from detkit.engine.start_notes import few_steps

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


def check_schedule(checks: CheckList, runner: Runner) -> None:
    """Check the schedule of a runner whose training is prepared."""
    loop = runner.train_loop
    problems = schedule_problems(runner)
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
    if loop.val_begin > loop.max_epochs or loop.val_interval > loop.max_epochs:
        checks.warned(
            'validation',
            f'of {loop.max_epochs} epochs only the last is validated, as val_begin is '
            f'{loop.val_begin} and val_interval {loop.val_interval}',
            'train_cfg.val_interval=1, to see how training goes and to keep the best weights',
        )
