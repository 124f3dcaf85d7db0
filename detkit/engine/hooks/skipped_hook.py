"""``SkippedHook``: lists images and annotations that could not be used."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.dist import all_gather_object, get_world_size, is_main_process

from detkit.datasets.skips import Skip, skip_lines
from detkit.datasets.wrappers import leaf_datasets
from detkit.engine.hooks.hook import Hook
from detkit.engine.run_folder import display_path
from detkit.registry import HOOKS
from detkit.utils.errors import DataError
from detkit.utils.files import append_text, keep_lines
from detkit.utils.numbers import count_text
from detkit.utils.tables import read_table

if TYPE_CHECKING:
    from torch import Tensor

    from detkit.engine.runner import Runner
    from detkit.structures.data_sample import DetDataSample


@HOOKS.register_module()
class SkippedHook(Hook):
    """Lists in ``skipped.csv`` the images and annotations that datasets skip, at loading and during training.

    Several processes exchange what each has skipped when the losses are read and at the end of an epoch, so that
    all is listed and counted, and all of them stop where it is too much.

    Args:
        max_skipped: share of the training images that may be unreadable without an error; None for the dataset's own
            limit. One image is always allowed.
    """

    priority = 'HIGH'

    def __init__(self, max_skipped: float | None = None) -> None:
        self.max_skipped = max_skipped
        self._unreadable: dict[str, set[str]] = {'train': set(), 'val': set()}
        self._waiting: list[Skip] = []  # of this process, which the others do not know yet

    def before_train(self, runner: Runner) -> None:
        if not runner.resumed and is_main_process():
            self._path(runner).unlink(missing_ok=True)  # of a run that was stopped here in its first epoch
        if runner.resumed and self._path(runner).exists():
            with runner.noting_failed_writes('skipped.csv'):  # else its images are listed anew when they are met
                if is_main_process():
                    keep_lines(self._path(runner), lambda line: True)
                for row in read_table(self._path(runner))[1]:
                    if row.get('line') == '' and row.get('split') in self._unreadable and 'path' in row:
                        self._unreadable[row['split']].add(row['path'])
        datasets = {'train': runner.train_loop.dataloader.dataset}
        if runner.val_loop is not None:
            datasets['val'] = runner.val_loop.dataloader.dataset
        found = [(split, skip) for split, dataset in datasets.items() for skip in _left_out(dataset)]
        if not found:
            return
        if not (runner.resumed and self._path(runner).exists()):
            self._write(runner, found)
        for split, dataset in datasets.items():
            _show(runner, split, dataset)
        count = sum(skip.count for _, skip in found)
        number = count_text(count, 'entry', 'entries')
        runner.console.line(f'left out {number} in all, listed in {display_path(self._path(runner))}')

    def before_test(self, runner: Runner) -> None:
        _show(runner, 'test', runner.test_loop.dataloader.dataset)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any], outputs: dict[str, Tensor]
    ) -> None:
        loop = runner.train_loop
        is_due = (loop.iter + 1) % loop.log_interval == 0 or batch_idx + 1 == loop.epoch_length
        if not self._note(runner, 'train', data_batch, is_due):
            return
        leaves = list(leaf_datasets(runner.train_loop.dataloader.dataset))
        num_images = sum(len(dataset) for dataset in leaves)
        limit = self.max_skipped
        if limit is None:
            limit = min(dataset.max_skipped for dataset in leaves)
        num_bad = len(self._unreadable['train'])
        if num_bad > max(1, limit * num_images):
            raise DataError(
                f'{num_bad} of {num_images} training images cannot be read, more than '
                f'max_skipped={limit:g} allows; they are listed in {display_path(self._path(runner))}. '
                'Repair or remove them, or raise max_skipped of the dataset.'
            )

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any], outputs: Sequence[DetDataSample]
    ) -> None:
        if runner.is_training:
            self._note(runner, 'val', data_batch, is_due=False)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if runner.is_training:
            self._note(runner, 'val', {}, is_due=True)

    def _note(self, runner: Runner, split: str, data_batch: dict, is_due: bool) -> bool:
        """List the unreadable images of a batch, each once; return whether there were new ones.

        Args:
            is_due: whether several processes exchange theirs now; one process never waits.
        """
        self._waiting += data_batch.get('skipped') or []
        if get_world_size() > 1 and not is_due:
            return False
        skips, self._waiting = self._waiting, []
        seen, new = self._unreadable[split], []
        for skip in (skip for part in all_gather_object(skips) for skip in part):
            if str(skip.path) not in seen:
                seen.add(str(skip.path))
                new.append(skip)
        if new:
            self._write(runner, [(split, skip) for skip in new])
        for skip in new:
            runner.console.line(f'skipped  {skip.location()}: {skip.reason}')
        return bool(new)

    @staticmethod
    def _path(runner: Runner) -> Path:
        return Path(runner.work_dir) / 'skipped.csv'

    def _write(self, runner: Runner, found: Sequence[tuple[str, Skip]]) -> None:
        if not is_main_process():
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        if not self._path(runner).exists():
            writer.writerow(['split', 'path', 'line', 'reason', 'count'])
        writer.writerows([split, *skip[:3], skip.count] for split, skip in found)
        with runner.noting_failed_writes('skipped.csv'):
            append_text(self._path(runner), text.getvalue())


def _left_out(dataset: Any) -> list[Skip]:
    return [*dataset.skipped, *dataset.unused]


def _show(runner: Runner, split: str, dataset: Any) -> None:
    for line in skip_lines(_left_out(dataset)):
        runner.console.line(f'left out {split}: {line}')
