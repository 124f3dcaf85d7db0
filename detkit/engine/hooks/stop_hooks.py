"""``EarlyStoppingHook`` and ``TimeLimitHook``: end training before the last epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detkit.engine.hooks.hook import Hook
from detkit.registry import HOOKS
from detkit.utils.progress import duration_text

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


@HOOKS.register_module()
class EarlyStoppingHook(Hook):
    """Stops when no validation of ``patience`` epochs was better than all before; undefined metrics do not count.

    Args:
        patience: the number of epochs; None for no limit.
    """

    def __init__(self, patience: int | None = 100) -> None:
        self.patience = patience

    def before_train(self, runner: Runner) -> None:
        if not runner.train_loop.val_pending:
            self._check(runner)  # a run that had stopped so is not trained on when it is resumed

    def after_fit_epoch(self, runner: Runner, metrics: dict[str, float] | None, improved: bool) -> None:
        if metrics is not None:
            self._check(runner)

    def _check(self, runner: Runner) -> None:
        loop = runner.train_loop
        waited = loop.epoch - loop.progress_epoch
        if self.patience and loop.best_epoch and waited >= self.patience:
            loop.stop(f'no better fitness for {waited} epochs; the best was epoch {loop.best_epoch}')


@HOOKS.register_module()
class TimeLimitHook(Hook):
    """Stops after the epoch in which a time limit is reached; time before a resume counts.

    Args:
        hours: the limit; None for none.
    """

    def __init__(self, hours: float | None = None) -> None:
        self.hours = hours

    def before_train(self, runner: Runner) -> None:
        self._check(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        self._check(runner)

    def _check(self, runner: Runner) -> None:
        # One process decides: clocks differ, and all must stop at the same epoch.
        elapsed = runner.broadcast_from_main(runner.train_loop.elapsed)
        if self.hours and elapsed >= self.hours * 3600:
            runner.train_loop.stop(f'the time limit of {self.hours:g} h is reached after {duration_text(elapsed)}')
