"""``LossShareHook``: moves the weight of the losses of a head with two assignments from one assignment to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detkit.engine.hooks.hook import Hook
from detkit.engine.training_state import unwrap
from detkit.registry import HOOKS
from detkit.utils.errors import ConfigError

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


@HOOKS.register_module()
class LossShareHook(Hook):
    """Change the weight of the one-to-many losses linearly with the epoch, as YOLO26 does (arXiv:2606.03748).

    It depends on the epoch alone, so that a resumed run has the weight of its epoch.

    Args:
        first: the weight in the first epoch; that of the one-to-one losses is the rest of 1.
        last: the weight in the last epoch.

    Raises:
        ConfigError: a weight is not in [0, 1], or the head is no ``DualAssignmentHead``.
    """

    def __init__(self, first: float = 0.8, last: float = 0.1) -> None:
        if not (0 <= first <= 1 and 0 <= last <= 1):
            raise ConfigError(f'LossShareHook: first is {first} and last {last}; both must be in [0, 1]')
        self.first = first
        self.last = last

    def before_train(self, runner: Runner) -> None:
        head = getattr(unwrap(runner.model), 'head', None)
        if not hasattr(head, 'many_weight'):
            raise ConfigError(
                f'LossShareHook: {type(head).__name__} has no many_weight, which every DualAssignmentHead has '
                f'(detkit.protocols); {self.omission(runner)}, or give the model a head with two assignments'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        loop = runner.train_loop
        unwrap(runner.model).head.many_weight = self.weight(loop.epoch, loop.max_epochs)

    def weight(self, epoch: int, max_epochs: int) -> float:
        """Return the weight in an epoch, counted from 0."""
        rest = max(1 - epoch / max(max_epochs - 1, 1), 0)
        return self.last + rest * (self.first - self.last)
