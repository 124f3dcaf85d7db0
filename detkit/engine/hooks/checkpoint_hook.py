"""``CheckpointHook``: writes checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.dist import barrier, is_main_process

from detkit.engine.checkpoint import load_checkpoint, save_checkpoint
from detkit.engine.hooks.hook import Hook
from detkit.engine.training_state import capture_training_state, weights_only
from detkit.registry import HOOKS

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Writes ``last.pth`` and ``best.pth``, and on request one file every so many epochs.

    All are complete, so that any of them can be resumed; at the end of training ``best.pth`` is reduced to weights.
    Where a signal stops training, ``last.pth`` is written at that very iteration.

    Args:
        interval: epochs between two checkpoints ``last.pth``; it is always written after the last epoch.
        interval_iters: also write it every so many iterations.
        save_period: keep an ``epoch_<n>.pth`` every so many epochs.
        strip_best: reduce ``best.pth`` at the end to the weights and the meta data.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: int = 1,
        interval_iters: int | None = None,
        save_period: int | None = None,
        strip_best: bool = True,
    ) -> None:
        self.interval = interval
        self.interval_iters = interval_iters
        self.save_period = save_period
        self.strip_best = strip_best

    def after_fit_iter(self, runner: Runner) -> None:
        # An epoch's end is saved after its validation.
        if (
            self.interval_iters
            and runner.train_loop.batch < runner.train_loop.epoch_length
            and runner.train_loop.iter % self.interval_iters == 0
        ):
            self._save(runner, ['last.pth'])

    def after_fit_epoch(self, runner: Runner, metrics: dict[str, float] | None, improved: bool) -> None:
        loop = runner.train_loop
        names = []
        if improved:
            names.append('best.pth')
        if self.save_period and loop.epoch % self.save_period == 0:
            names.append(f'epoch_{loop.epoch}.pth')
        if loop.finished or loop.epoch % self.interval == 0:
            names.append('last.pth')
        if names:
            self._save(runner, names, metrics)

    def before_stop(self, runner: Runner) -> None:
        self._save(runner, ['last.pth'])
        barrier()  # no process ends while another still writes

    def after_train(self, runner: Runner) -> None:
        best = Path(runner.work_dir) / 'best.pth'
        if self.strip_best and is_main_process() and best.exists():
            checkpoint = load_checkpoint(best)
            if 'loop' in checkpoint:
                save_checkpoint(weights_only(checkpoint), best)
        barrier()

    @staticmethod
    def _save(runner: Runner, names: list[str], metrics: dict[str, float] | None = None) -> None:
        runner.train_loop.losses.read()  # weights after a non-finite loss are never saved
        checkpoint = capture_training_state(runner, metrics)
        if is_main_process():
            for name in names:
                save_checkpoint(checkpoint, Path(runner.work_dir) / name)
