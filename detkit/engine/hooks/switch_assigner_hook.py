"""``SwitchAssignerHook``: the last epochs match objects by another assigner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detkit.engine.hooks.hook import Hook
from detkit.engine.training_state import unwrap
from detkit.models.heads import BaseHead
from detkit.registry import ASSIGNERS, HOOKS
from detkit.utils.errors import ConfigError

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


@HOOKS.register_module()
class SwitchAssignerHook(Hook):
    """Give the head another assigner from an epoch on, as DEIMv2 does (arXiv:2509.20787).

    It depends on the epoch alone, so that a run that is resumed or goes back to a checkpoint has the assigner of its
    epoch.

    Args:
        epoch: the number of epochs with the head's own assigner.
        assigner: config of the one that follows; it must be of the kind that the head takes.

    Raises:
        ConfigError: no head has an assigner, or takes one of this kind.
    """

    def __init__(self, epoch: int, assigner: dict) -> None:
        self.epoch = epoch
        self.assigner = assigner
        self._own: Any = None  # the assigner before them

    def before_train(self, runner: Runner) -> None:
        self._late = self._build(getattr(unwrap(runner.model), 'head', None), runner)

    def before_train_epoch(self, runner: Runner) -> None:
        head, is_late = unwrap(runner.model).head, runner.train_loop.epoch >= self.epoch
        if is_late and self._own is None:
            self._own, head.assigner = head.assigner, self._late
        elif not is_late and self._own is not None:
            head.assigner, self._own = self._own, None

    def _build(self, head: BaseHead | None, runner: Runner) -> object:
        if not hasattr(head, 'build_part') or 'assigner' not in head.takes:
            raise ConfigError(f'SwitchAssignerHook: {type(head).__name__} has no assigner; {self.omission(runner)}')
        return head.build_part(ASSIGNERS, 'assigner', self.assigner)
