"""``CheckpointHook``: writes checkpoints."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.dist import barrier, get_world_size, is_main_process

from detkit.engine.checkpoint import load_checkpoint
from detkit.engine.checkpoint_writer import snapshot
from detkit.engine.hooks.hook import Hook
from detkit.engine.launch import largest_of_ranks
from detkit.engine.non_finite import refuse_runaway_weights
from detkit.engine.resumed_files import write_missing
from detkit.engine.training_state import capture_training_state, weights_only
from detkit.registry import HOOKS
from detkit.utils.errors import CheckpointError

if TYPE_CHECKING:
    from detkit.engine.runner import Runner
    from detkit.engine.train_loop import TrainLoop
    from detkit.utils.files import SaveError


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Writes ``last.pth`` and ``best.pth``, and on request one file every so many epochs.

    All are complete, so that any of them can be resumed; at the end of training ``best.pth`` is reduced to weights.
    Where a signal stops training, ``last.pth`` is written at that very iteration. Where the disk has no space, the
    checkpoint before stays, a line says so and training goes on; ``last.pth`` is tried again when it is due.

    The state is copied within the iteration, and written while training goes on; the next checkpoint, a signal and the
    end of the run wait for it. Training waits for the first ``last.pth`` of each start, so that no results of later
    epochs are in the folder of a run that cannot be resumed.

    Args:
        interval: epochs between two checkpoints ``last.pth``; it is also written after the first epoch of each start,
            and after the last one.
        interval_iters: also write it every so many iterations.
        interval_minutes: also write it where so many minutes have passed since it was written; several processes look
            at the clock every ``log_interval`` iterations. None for no limit.
        save_period: keep an ``epoch_<n>.pth`` every so many epochs.
        strip_best: reduce ``best.pth`` at the end to the weights and the meta data.
        background: write while training goes on, which needs as much memory as a checkpoint has; otherwise training
            waits.

    Raises:
        SaveError: after the run, or where a signal stopped it: the last state could not be written.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: int = 1,
        interval_iters: int | None = None,
        interval_minutes: float | None = 10,
        save_period: int | None = None,
        strip_best: bool = True,
        background: bool = True,
    ) -> None:
        self.interval = interval
        self.interval_iters = interval_iters
        self.interval_minutes = interval_minutes
        self.save_period = save_period
        self.strip_best = strip_best
        self.background = background
        self._tried = 0.0  # when last.pth was written last, or could not be
        self._is_written = False  # last.pth, since the start
        self._best: dict[str, Any] | None = None  # the weights of the last epoch, where they are the best

    def before_train(self, runner: Runner) -> None:
        self._tried = time.monotonic()
        loop = runner.train_loop
        if runner.resumed and loop.is_between_epochs and is_main_process():
            write_missing(runner, self._names(loop, loop.best_epoch == loop.epoch, is_last=True))

    def after_fit_iter(self, runner: Runner) -> None:
        runner.checkpoint_writer.report_finished()
        loop = runner.train_loop
        if loop.batch == loop.epoch_length:  # an epoch's end is saved after its validation
            return
        if (self.interval_iters and loop.iter % self.interval_iters == 0) or self._is_time(runner):
            self._save(runner, ['last.pth'])

    def _is_time(self, runner: Runner) -> bool:
        """Return whether ``interval_minutes`` have passed, by the clock of the main process."""
        if self.interval_minutes is None or (get_world_size() > 1 and runner.iter % runner.train_loop.log_interval):
            return False
        is_due = is_main_process() and time.monotonic() - self._tried >= self.interval_minutes * 60
        return bool(largest_of_ranks(is_due))

    def after_fit_epoch(self, runner: Runner, metrics: dict[str, float] | None, improved: bool) -> None:
        loop = runner.train_loop
        is_last = loop.finished or loop.epoch % self.interval == 0 or not self._is_written
        names = self._names(loop, improved, is_last)
        if names:
            checkpoint = self._save(runner, names, metrics)
            if improved and loop.finished and self.strip_best and is_main_process():
                self._best = snapshot(weights_only(checkpoint))

    def _names(self, loop: TrainLoop, is_best: bool, is_last: bool) -> list[str]:
        """Return the files that are due at the end of an epoch, ``best.pth`` first: it alone is made of no other."""
        names = ['best.pth'] if is_best else []
        if self.save_period and loop.epoch % self.save_period == 0:
            names.append(f'epoch_{loop.epoch}.pth')
        return [*names, 'last.pth'] if is_last else names

    def before_stop(self, runner: Runner) -> None:
        self._save(runner, ['last.pth'])
        self._check_last(runner)

    def after_train(self, runner: Runner) -> None:
        best = Path(runner.work_dir) / 'best.pth'
        if self.strip_best and is_main_process() and best.exists():
            weights, self._best = self._best or self._weights_in(runner, best), None
            if weights is not None:
                runner.checkpoint_writer.write(weights, [best], background=False)
        barrier()

    @staticmethod
    def _weights_in(runner: Runner, path: Path) -> dict[str, Any] | None:
        """Return the weights in a complete checkpoint; None for one that holds no more, or is damaged."""
        try:
            checkpoint = load_checkpoint(path)
        except CheckpointError as error:
            runner.console.line(f'note     {error}')
            return None
        return weights_only(checkpoint) if 'loop' in checkpoint else None

    def after_run(self, runner: Runner) -> None:
        self._check_last(runner)

    @staticmethod
    def _check_last(runner: Runner) -> None:
        """Wait until ``last.pth`` is written, and raise ``SaveError`` on every process where it could not be."""
        error = CheckpointHook._error_of_last(runner)
        if error is not None:
            raise error

    @staticmethod
    def _error_of_last(runner: Runner) -> SaveError | None:
        """Return why ``last.pth`` could not be written at the last try; every process must call this."""
        runner.checkpoint_writer.wait()
        return runner.broadcast_from_main(runner.checkpoint_writer.errors.get(Path(runner.work_dir) / 'last.pth'))

    def _save(self, runner: Runner, names: list[str], metrics: dict[str, float] | None = None) -> dict[str, Any]:
        """Write the state of the run to files of these names, and return it."""
        runner.train_loop.losses.read()  # weights after a non-finite loss are never saved
        refuse_runaway_weights(runner)
        checkpoint = capture_training_state(runner, metrics)
        is_first = 'last.pth' in names and not self._is_written
        if is_main_process():
            paths = [Path(runner.work_dir) / name for name in names]
            runner.checkpoint_writer.write(checkpoint, paths, self.background and not is_first)
        if 'last.pth' in names:
            self._tried = time.monotonic()
        if is_first:
            self._is_written = self._error_of_last(runner) is None
        return checkpoint
