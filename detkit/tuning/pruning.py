"""``PruningHook``: reports validations to a trial, and ends it where other trials were better."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna

from detkit.engine.hooks import Hook
from detkit.evaluation.headline import fitness

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


class PruningHook(Hook):
    """Reports how good each validation was, by ``train_cfg.best_metric``, and raises where the trial is to end.

    It is called behind the checkpoint of the epoch, so that a trial that was killed goes on as it would have.

    Args:
        trial: the trial that the run belongs to.
        reported: epochs that were reported before a resume.
    """

    priority = 'VERY_LOW'

    def __init__(self, trial: optuna.Trial, reported: set[int]) -> None:
        self.trial = trial
        self.reported = set(reported)

    def before_train(self, runner: Runner) -> None:
        if not runner.train_loop.val_pending and not runner.train_loop.finished:
            self._check(runner)  # the process may have been killed between the report and this

    def after_fit_epoch(self, runner: Runner, metrics: dict[str, float] | None, improved: bool) -> None:
        loop = runner.train_loop
        value = None if metrics is None else fitness(metrics, loop.best_metric)
        if value is not None and loop.epoch not in self.reported:
            self.trial.report(value, loop.epoch)
            self.reported.add(loop.epoch)
        if value is not None and not loop.finished:
            self._check(runner)

    def _check(self, runner: Runner) -> None:
        if self.reported and self.trial.should_prune():
            raise optuna.TrialPruned(f'pruned after {runner.train_loop.epoch} epochs: other trials were better')
