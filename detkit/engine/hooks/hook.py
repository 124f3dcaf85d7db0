"""``Hook``: the base of detkit's hooks, with the points at which they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from detkit.engine.runner import Runner
    from detkit.structures.data_sample import DetDataSample


class Hook:
    """Base of hooks, which are called at fixed points of training, validation and test.

    A subclass writes the methods it needs. They are mmengine's points, whose own hooks work too, and those that only
    detkit has: ``before_fit``, ``after_fit_iter``, ``after_fit_epoch``, ``after_restore``, ``before_stop`` and
    ``after_final_eval``. ``after_fit_iter`` and ``after_fit_epoch`` are called after the counters have been raised, so
    that a state saved there is exactly where a resumed run continues.

    Attributes:
        priority: 0 (called first) to 100, or a name of ``detkit.utils.priorities``.
        is_optional: whether a file that the hook cannot read or write leaves the run going, with a note.
    """

    priority: int | str = 'NORMAL'
    is_optional: ClassVar[bool] = False

    def before_run(self, runner: Runner) -> None:
        """Act before a training, validation or test, when the optimiser is built and no weights are loaded."""

    def after_run(self, runner: Runner) -> None:
        """Act after it."""

    def before_fit(self, runner: Runner) -> None:
        """Act when everything is built and nothing is resumed yet."""

    def before_train(self, runner: Runner) -> None:
        """Act before the first epoch."""

    def after_train(self, runner: Runner) -> None:
        """Act after the last epoch, before the best weights are evaluated."""

    def before_train_epoch(self, runner: Runner) -> None:
        """Act before an epoch, or the rest of one."""

    def after_train_epoch(self, runner: Runner) -> None:
        """Act after the iterations of an epoch, before it is counted and validated."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None) -> None:
        """Act before an iteration, on its batch as ``collate`` made it."""

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Act after an iteration, before it is counted; ``outputs`` are its losses."""

    def after_fit_iter(self, runner: Runner) -> None:
        """Act after an iteration has been counted."""

    def after_fit_epoch(self, runner: Runner, metrics: dict[str, float] | None, improved: bool) -> None:
        """Act after an epoch has been counted and, where due, validated.

        Args:
            runner: the runner.
            metrics: the results of the validation; None where there was none.
            improved: whether they are the best so far.
        """

    def after_restore(self, runner: Runner) -> None:
        """Act after training went back to an earlier checkpoint, see ``train_cfg.non_finite``."""

    def before_stop(self, runner: Runner) -> None:
        """Act when a signal stops training, after an iteration or an epoch has been counted, on every process."""

    def after_final_eval(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Act after the best weights have been evaluated, at the end of training."""

    def before_val(self, runner: Runner) -> None:
        """Act before a validation."""

    def after_val(self, runner: Runner) -> None:
        """Act after a validation."""

    def before_val_epoch(self, runner: Runner) -> None:
        """Act before the first batch of a validation."""

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Act on the results of a validation."""

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None) -> None:
        """Act before a batch of a validation."""

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: Sequence[DetDataSample] | None = None,
    ) -> None:
        """Act after a batch of a validation; ``outputs`` are its predictions, one an image."""

    def before_test(self, runner: Runner) -> None:
        """Act before a test."""

    def after_test(self, runner: Runner) -> None:
        """Act after a test."""

    def before_test_epoch(self, runner: Runner) -> None:
        """Act before the first batch of a test."""

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Act on the results of a test."""

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None) -> None:
        """Act before a batch of a test."""

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: Sequence[DetDataSample] | None = None,
    ) -> None:
        """Act after a batch of a test; ``outputs`` are its predictions, one an image."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold for ``load_state_dict``: plain types and tensors; empty for nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of a run that is resumed."""

    @classmethod
    def omission(cls, runner: Runner) -> str:
        """Return how the config of a run leaves this hook out, for an error that says so."""
        hooks = runner.cfg.get('default_hooks') or {}
        keys = [key for key, hook in hooks.items() if isinstance(hook, Mapping) and hook.get('type') == cls.__name__]
        return f'leave the hook out (default_hooks.{keys[0]}=None)' if keys else 'leave the hook out'
