"""``EMARestartHook``: the last epochs start again from the best weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.dist import barrier, is_main_process

from detkit.engine.checkpoint import copy_checkpoint, load_checkpoint
from detkit.engine.hooks.hook import Hook
from detkit.engine.training_state import restore_weights
from detkit.registry import HOOKS
from detkit.utils.errors import ConfigError
from detkit.utils.files import SaveError

if TYPE_CHECKING:
    from detkit.engine.runner import Runner

# The best checkpoint before the last epochs, beside best.pth, which these replace where they are better.
_STORED = 'best_before_restart.pth'


@HOOKS.register_module()
class EMARestartHook(Hook):
    """Go on from the best weights when strong augmentation stops, as D-FINE and DEIM do (arXiv:2410.13842).

    Before the first of the last epochs, weights, their averages and the optimiser's state are set back to those of
    ``best.pth``, and the averages get another decay; epochs, learning rates and random draws go on. After each of these
    epochs that is no better than the best so far they are set back again, and the decay becomes a little smaller.
    Without a validation before them nothing is set back. Gradients that wait for an accumulated step are dropped. A run
    that is resumed with more epochs goes on with the usual decay until the last ones of these. Where its ``best.pth``
    has been reduced to weights by then, they replace weights and averages, and the optimiser keeps its state.

    Args:
        num_epochs: the number of these last epochs; 0 for none.
        decay: limit of the decay of the averages in them, see ``ModelEMA``.
        decay_step: what is taken from it each time that they are set back again.

    Raises:
        ConfigError: ``decay`` is not within 0 … 1.
        SaveError: when the last epochs begin: the disk has no space for a copy of ``best.pth``.
    """

    def __init__(self, num_epochs: int, decay: float = 0.9999, decay_step: float = 1e-4) -> None:
        if not 0 <= decay <= 1:
            raise ConfigError(f'EMARestartHook: decay must be within 0 … 1, found {decay}')
        self.num_epochs = num_epochs
        self.first_decay = decay
        self.decay_step = decay_step
        self.decay: float | None = None  # before the restart
        self.pending = False
        self._usual_decay = 0.0  # of the averages before the last epochs

    def before_train(self, runner: Runner) -> None:
        self._usual_decay = runner.ema.decay if runner.ema else 0.0
        self._set_decay(runner)
        if self.decay is not None and runner.resumed_from is not None:
            source, stored = runner.resumed_from.with_name(_STORED), Path(runner.work_dir) / _STORED
            # It is missing where another folder goes on with the last epochs.
            _copy(runner, source, stored, source.exists() and not stored.exists())

    def after_restore(self, runner: Runner) -> None:
        self._set_decay(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        loop = runner.train_loop
        if loop.batch:  # a resumed run is within an epoch
            return
        is_late = self.num_epochs > 0 and loop.epoch >= max(loop.max_epochs - self.num_epochs, 1)
        if is_late and (self.decay is None or self.pending):
            is_first = self.decay is None
            self.decay, self.pending = self.first_decay if is_first else self.decay, False
            self._restart(runner, is_first)
        elif not is_late and self.decay is not None:  # more epochs than the run had
            self.decay, self.pending = None, False
            self._set_decay(runner)

    def after_fit_epoch(self, runner: Runner, metrics: dict[str, float] | None, improved: bool) -> None:
        if self.decay is not None and metrics is not None and not improved:
            self.decay = max(self.decay - self.decay_step, 0.0)
            self.pending = True

    def _restart(self, runner: Runner, is_first: bool) -> None:
        runner.checkpoint_writer.wait()
        barrier()
        best, stored = Path(runner.work_dir) / 'best.pth', Path(runner.work_dir) / _STORED
        is_due = best.exists() and (not stored.exists() or (is_first and _is_newer(best, stored, runner)))
        _copy(runner, best, stored, is_due)
        if not stored.exists():
            runner.console.line('note     EMARestartHook: no weights were validated, so that none are gone back to')
            return
        checkpoint = load_checkpoint(stored)
        restore_weights(runner, checkpoint, str(stored))
        self._set_decay(runner)
        runner.console.line(
            f'restart  from {stored.name}, of epoch {checkpoint["meta"]["epoch"]}; averages decay by {self.decay:g}'
        )

    def _set_decay(self, runner: Runner) -> None:
        if runner.ema:
            runner.ema.decay = self._usual_decay if self.decay is None else self.decay

    def state_dict(self) -> dict[str, Any]:
        return {'decay': self.decay, 'pending': self.pending}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.decay, self.pending = state.get('decay'), state.get('pending', False)


def _copy(runner: Runner, source: Path, path: Path, is_due: bool) -> None:
    """Copy a checkpoint where the main process finds it to be due; every process must call this, and gets its error.

    Raises:
        SaveError: it cannot be written.
    """
    error: SaveError | None = None
    if is_due and is_main_process():
        try:
            copy_checkpoint(source, path)
        except SaveError as caught:
            error = caught
    error = runner.broadcast_from_main(error)
    if error is not None:
        raise error


def _is_newer(best: Path, stored: Path, runner: Runner) -> bool:
    """Return whether the best weights are later than the stored ones, and not of last epochs that were killed."""
    return load_checkpoint(stored)['meta']['epoch'] < load_checkpoint(best)['meta']['epoch'] <= runner.epoch
