"""Averaging of weights during training."""

from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook

from detkit.engine.ema import ModelEMA
from detkit.engine.training_state import sync_buffers, unwrap
from detkit.registry import HOOKS


@HOOKS.register_module()
class EMAHook(Hook):
    """Keeps averaged weights, which are what is validated and what a checkpoint's ``state_dict`` holds.

    Args:
        decay, tau: see ``ModelEMA``.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, decay: float = 0.9999, tau: float = 2000.0) -> None:
        self.decay = decay
        self.tau = tau

    def before_fit(self, runner: Any) -> None:
        runner.ema = ModelEMA(unwrap(runner.model), self.decay, self.tau)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.optim_wrapper.stepped:
            runner.ema.update()

    def before_val_epoch(self, runner: Any) -> None:
        if runner.ema:
            runner.ema.swap()
            if get_world_size() > 1:
                sync_buffers(unwrap(runner.model))

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        if runner.ema:
            runner.ema.swap()
