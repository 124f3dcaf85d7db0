"""``EMAHook``: validates and saves the exponential moving average of the weights and buffers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn

from detkit.engine.hooks.hook import Hook
from detkit.engine.training_state import sync_buffers, unwrap
from detkit.registry import HOOKS

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


class ModelEMA:
    """Keeps ``average += (1 - decay_t) * (weights - average)`` with ``decay_t = decay * (1 - exp(-t / tau))``.

    The ramp lets the average follow closely while the weights still change fast. Buffers of integers (counters) are
    copied.

    Args:
        model: the model, not wrapped.
        decay: limit of the decay.
        tau: number of updates in which the decay grows to 63 % of its limit.

    Attributes:
        num_updates: t.
        swapped: whether the model holds the averages, and this object the training weights, see ``swap``.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9999, tau: float = 2000.0) -> None:
        self.model = model
        self.decay = decay
        self.tau = tau
        self.num_updates = 0
        self.swapped = False
        saved = model.state_dict()
        tensors = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        # A tensor that a model uses under several names is averaged once; _alias gives each name its first one.
        first: dict[int, str] = {}
        self._alias = {name: first.setdefault(id(tensors[name]), name) for name in saved}
        self._names = list(first.values())
        self._tensors = [tensors[name] for name in self._names]
        self._averages = [tensor.detach().clone() for tensor in self._tensors]
        self._is_float = [tensor.is_floating_point() for tensor in self._tensors]

    @torch.no_grad()
    def update(self) -> None:
        """Update the averages with the current weights; to be called after each optimiser step."""
        self.num_updates += 1
        weight = 1 - self.decay * (1 - math.exp(-self.num_updates / self.tau))
        pairs = list(zip(self._averages, self._tensors, self._is_float, strict=True))
        torch._foreach_lerp_([a for a, _, real in pairs if real], [t for _, t, real in pairs if real], weight)
        for average, tensor, real in pairs:
            if not real:
                average.copy_(tensor)

    def swap(self) -> None:
        """Exchange the model's tensors and the averages, without copying; a second call restores them."""
        for i, tensor in enumerate(self._tensors):
            tensor.data, self._averages[i] = self._averages[i], tensor.data
        self.swapped = not self.swapped

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages under the names of the model's ``state_dict``."""
        if self.swapped:
            raise RuntimeError('the averages are in the model: swap back first')
        averages = dict(zip(self._names, self._averages, strict=True))
        return {name: averages[first] for name, first in self._alias.items()}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Load averages by the names of the model's ``state_dict``."""
        for name, average in zip(self._names, self._averages, strict=True):
            average.copy_(state_dict[name])


@HOOKS.register_module()
class EMAHook(Hook):
    """Keeps averaged weights, which are validated and saved as a checkpoint's ``state_dict``.

    Args:
        decay, tau: see ``ModelEMA``.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, decay: float = 0.9999, tau: float = 2000.0) -> None:
        self.decay = decay
        self.tau = tau

    def before_fit(self, runner: Runner) -> None:
        runner.ema = ModelEMA(unwrap(runner.model), self.decay, self.tau)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any], outputs: dict[str, Tensor]
    ) -> None:
        if runner.optim_wrapper.stepped:
            runner.ema.update()

    def before_val_epoch(self, runner: Runner) -> None:
        if runner.ema:
            runner.ema.swap()
            if get_world_size() > 1:
                sync_buffers(unwrap(runner.model))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if runner.ema:
            runner.ema.swap()
