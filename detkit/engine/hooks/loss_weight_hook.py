"""``LossWeightHook``: the last epochs give losses of the head other weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from detkit.engine.hooks.hook import Hook
from detkit.engine.training_state import unwrap
from detkit.registry import HOOKS
from detkit.utils.errors import ConfigError, nearest

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


@HOOKS.register_module()
class LossWeightHook(Hook):
    """Set the weights of some of the head's losses in the last epochs, as YOLOX turns its L1 loss on.

    It depends on the epoch alone, so that a run that is resumed or goes back to a checkpoint has the weights of its
    epoch.

    Args:
        num_epochs: the number of epochs with these weights at the end; 0 for none.
        weights: the head's argument that holds a loss -> the weight of that loss, such as ``dict(loss_l1=1.0)``.

    Raises:
        ConfigError: the head has no such loss.
    """

    def __init__(self, num_epochs: int, weights: Mapping[str, float]) -> None:
        self.num_epochs = num_epochs
        self.weights = dict(weights)
        self._own: dict[str, float] = {}  # the weights before the last epochs

    def before_train(self, runner: Runner) -> None:
        head = unwrap(runner.model).head
        losses = [name for name in head.takes if name.startswith('loss_')]
        for name in self.weights:
            if name not in losses:
                remedy = nearest(name, losses) or f' Name one of them, or {self.omission(runner)}.'
                raise ConfigError(
                    f'LossWeightHook.weights has {name!r}, but the losses of {type(head).__name__} are '
                    f'{", ".join(losses) or "none"}.{remedy}'
                )

    def before_train_epoch(self, runner: Runner) -> None:
        loop = runner.train_loop
        head = unwrap(runner.model).head
        weights, own = self._own, {}
        if self.num_epochs > 0 and loop.epoch >= loop.max_epochs - self.num_epochs:
            weights = self.weights
            own = self._own or {name: getattr(head, name).loss_weight for name in weights}
        for name, weight in weights.items():
            getattr(head, name).loss_weight = weight
        self._own = own
