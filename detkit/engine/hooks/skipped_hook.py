"""The list of data that could not be used."""

import csv
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from detkit.registry import HOOKS
from detkit.utils.errors import DataError


@HOOKS.register_module()
class SkippedHook(Hook):
    """Lists in ``skipped.csv`` what data sets left out, at loading and while training, and says so once.

    Args:
        max_skipped: share of the training images that may be unreadable before that is an error; None for the data
            set's own limit.
    """

    priority = 'HIGH'

    def __init__(self, max_skipped: float | None = None) -> None:
        self.max_skipped = max_skipped
        self._unreadable: set[str] = set()

    def before_train(self, runner: Any) -> None:
        datasets = [('train', runner.train_loop.dataloader.dataset)]
        if runner.val_loop is not None:
            datasets.append(('val', runner.val_loop.dataloader.dataset))
        rows = [[split, *entry] for split, dataset in datasets for entry in getattr(dataset, 'skipped', None) or []]
        if rows:
            if not (runner.resumed and self._path(runner).exists()):
                self._write(runner, rows)
            runner.console.line(f'skipped  {len(rows)} images or annotations, listed in {self._path(runner)}')

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        skipped = data_batch.get('skipped') if isinstance(data_batch, dict) else None
        new = [entry for entry in skipped or [] if str(entry[0]) not in self._unreadable]
        if not new:
            return
        self._unreadable.update(str(entry[0]) for entry in new)
        self._write(runner, [['train', *entry] for entry in new])
        for entry in new:
            runner.console.line(f'skipped  {" ".join(str(part) for part in entry)}')
        dataset = runner.train_loop.dataloader.dataset
        limit = self.max_skipped if self.max_skipped is not None else getattr(dataset, 'max_skipped', 0.01)
        if len(self._unreadable) > limit * len(dataset):
            raise DataError(f'{len(self._unreadable)} of {len(dataset)} training images cannot be read, more than '
                            f'max_skipped={limit:g} allows; they are listed in {self._path(runner)}. '
                            'Repair or remove them, or raise max_skipped of the data set.')

    @staticmethod
    def _path(runner: Any) -> Path:
        return Path(runner.work_dir) / 'skipped.csv'

    def _write(self, runner: Any, rows: list[list[Any]]) -> None:
        if not is_main_process():
            return
        is_new = not self._path(runner).exists()
        with open(self._path(runner), 'a', newline='') as file:
            writer = csv.writer(file, lineterminator='\n')
            if is_new:
                writer.writerow(['split', 'path', 'line', 'reason'])
            writer.writerows(rows)
