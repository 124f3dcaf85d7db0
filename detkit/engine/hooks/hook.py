"""``Hook``: the base of detkit's hooks, with the points at which they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from mmengine.hooks import Hook as MMEngineHook

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


class Hook(MMEngineHook):
    """Base of hooks, which are called at fixed points of training, validation and test.

    A subclass writes the methods it needs. Beside mmengine's points (``before_train``, ``after_train_iter``, …) there
    are those below. ``after_fit_iter`` and ``after_fit_epoch`` are called after the counters have been raised, so that
    a state saved there is exactly where a resumed run continues.

    Attributes:
        is_optional: whether a file that the hook cannot read or write leaves the run going, with a note.
    """

    is_optional: ClassVar[bool] = False

    def before_fit(self, runner: Runner) -> None:
        """Act when everything is built and nothing is resumed yet."""

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

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold for ``load_state_dict``: plain types and tensors; empty for nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of a run that is resumed."""
