"""``ScalarLogHook``: losses, learning rates and metrics in files and in the programs of ``log_to``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import is_main_process

from detkit.engine.hooks.hook import Hook
from detkit.engine.run_folder import RESULTS_FILE, SCALARS_FILE
from detkit.registry import HOOKS
from detkit.utils.files import append_text, keep_lines, write_text
from detkit.utils.tables import read_table

if TYPE_CHECKING:
    from torch import Tensor

    from detkit.engine.runner import Runner
    from detkit.engine.train_loop import TrainLoop


@HOOKS.register_module()
class ScalarLogHook(Hook):
    """Writes ``scalars.json`` and ``results.csv``, and sends the lines of the first to the programs of ``log_to``.

    The first has JSON lines, of training every ``interval`` iterations and of each validation. The second has a row an
    epoch: epoch, time (s), mean training losses, learning rate of each parameter group, and the metrics where the epoch
    was validated. A resumed run removes the lines written after its checkpoint, so that the files are those of a run
    that never stopped. What cannot be written, as the disk is full, is kept and written later.

    Args:
        interval: iterations between two lines of ``scalars.json``; None for the loop's ``log_interval``.
    """

    priority = 'BELOW_NORMAL'

    def __init__(self, interval: int | None = None) -> None:
        self.interval = interval
        self._lines: list[str] = []  # that wait to be written
        self._rows: list[dict[str, Any]] = []

    def before_train(self, runner: Runner) -> None:
        runner.scalar_log.start(runner.cfg, runner.train_loop.iter)
        self.after_restore(runner)

    def after_restore(self, runner: Runner) -> None:
        """Remove the lines behind the checkpoint that training goes on from."""
        self._lines, self._rows = [], []
        if is_main_process():  # also a run that starts anew where an earlier one was stopped in its first epoch
            loop = runner.train_loop
            num_rows = loop.epoch - loop.val_pending  # an epoch has its row after its validation
            keep_lines(self._json(runner), lambda line: _is_before(json.loads(line), loop))
            keep_lines(self._csv(runner), lambda line: not line[:1].isdecimal() or int(line.split(',')[0]) <= num_rows)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any], outputs: dict[str, Tensor]
    ) -> None:
        loop = runner.train_loop
        if (loop.iter + 1) % (self.interval or loop.log_interval):
            return
        loop.losses.read()
        if not is_main_process():
            return
        row: dict[str, Any] = {'epoch': loop.epoch + 1, 'iter': loop.iter + 1, 'time': round(loop.elapsed, 2)}
        row.update({f'lr/{name}': lr for name, lr in runner.learning_rates().items()})
        row.update({f'train/{name}': value for name, value in loop.losses.latest.items()})
        if runner.optim_wrapper.grad_norm is not None:
            row['grad_norm'] = float(runner.optim_wrapper.grad_norm)
        if runner.device.type == 'cuda':
            row['memory_mib'] = torch.cuda.max_memory_allocated(runner.device) >> 20
        self._append(runner, row)

    def after_fit_epoch(self, runner: Runner, metrics: dict[str, float] | None, improved: bool) -> None:
        if not is_main_process():
            return
        loop = runner.train_loop
        if metrics:
            self._append(runner, {'epoch': loop.epoch, 'iter': loop.iter, 'time': round(loop.elapsed, 2), **metrics})
        row: dict[str, Any] = {'epoch': loop.epoch, 'time': f'{loop.elapsed:.2f}'}
        row.update({f'train/{name}': f'{value:.5g}' for name, value in loop.losses.means().items()})
        row.update({f'lr/{name}': f'{lr:.6g}' for name, lr in runner.learning_rates().items()})
        row.update({f'metrics/{name}': f'{float(value):.5g}' for name, value in (metrics or {}).items()})
        self._rows.append(row)
        self._write(runner)

    def before_stop(self, runner: Runner) -> None:
        self._write(runner)

    def after_run(self, runner: Runner) -> None:
        self._write(runner)
        for path, waiting in ((SCALARS_FILE, self._lines), (RESULTS_FILE, self._rows)):
            if waiting:
                runner.console.line(f'note     {len(waiting)} lines of {path} could not be written')

    def _append(self, runner: Runner, row: dict[str, Any]) -> None:
        self._lines.append(json.dumps(row) + '\n')
        self._write(runner)
        values = {key: value for key, value in row.items() if isinstance(value, int | float) and key != 'iter'}
        with runner.noting_failed_writes('log_to'):
            runner.scalar_log.add_scalars(values, step=row['iter'])

    def _write(self, runner: Runner) -> None:
        """Write all that waits."""
        if self._lines:
            with runner.noting_failed_writes(SCALARS_FILE):
                append_text(self._json(runner), ''.join(self._lines))
                self._lines = []
        if self._rows:
            with runner.noting_failed_writes(RESULTS_FILE):
                _append_rows(self._csv(runner), self._rows)
                self._rows = []

    @staticmethod
    def _json(runner: Runner) -> Path:
        return Path(runner.work_dir) / SCALARS_FILE

    @staticmethod
    def _csv(runner: Runner) -> Path:
        return Path(runner.work_dir) / RESULTS_FILE


def _is_before(row: dict[str, Any], loop: TrainLoop) -> bool:
    """Return whether a line of ``scalars.json`` was written before the loop's position."""
    of_training = any(name.startswith('lr/') for name in row)
    return row['iter'] < loop.iter or (row['iter'] == loop.iter and (of_training or not loop.val_pending))


def _append_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows; columns that the file lacks, such as metrics at the first validation, are added to all its rows.

    Raises:
        DataError: the file is no table, so that somebody else wrote it.
    """
    known, former = read_table(path) if path.exists() else ([], [])
    columns = list(dict.fromkeys([*known, *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval='', lineterminator='\n')
    if known == columns:
        writer.writerows(rows)
        append_text(path, text.getvalue())
    else:
        writer.writeheader()
        writer.writerows([*former, *rows])
        write_text(path, text.getvalue())
