"""A training run in small, to find within a minute what would stop or spoil the real one after hours."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader

from detkit.analysis.data.annotations_table import SplitTable, make_table
from detkit.analysis.runs.checklist import CheckList
from detkit.analysis.runs.data_checks import (
    check_images,
    check_needs,
    check_objects,
    check_skipped,
    check_splits,
)
from detkit.analysis.runs.run_costs import StepCosts, check_disk, check_memory, check_time, check_workers
from detkit.analysis.runs.schedule_checks import check_schedule
from detkit.analysis.speed.paired_timing import synchronize
from detkit.analysis.speed.peak_memory import process_peak
from detkit.analysis.speed.training_speed import endless
from detkit.config import load_config
from detkit.datasets.loader import build_dataloader, number_of_workers
from detkit.datasets.wrappers import RecordDataset, records_of
from detkit.engine.checkpoint import load_checkpoint, save_checkpoint
from detkit.engine.model_cost import count_parameters
from detkit.engine.runner import Runner
from detkit.engine.start_notes import NEED_OF_TASK, NEEDS
from detkit.engine.training_state import capture_training_state, restore_training_state, unwrap
from detkit.evaluation.gathered_metric import GatheredMetric
from detkit.evaluation.headline import fitness, headline_names
from detkit.models.data_preprocessor import DetDataPreprocessor
from detkit.utils.device import check_device
from detkit.utils.errors import ConfigError, nearest, shorten
from detkit.utils.numbers import count_text

_FEWEST_STEPS, _MOST_STEPS = 2, 30  # timed ones
_VAL_BATCHES = 2  # the first of which is not timed


def dry_run(
    path: str | Path,
    options: Sequence[str] | dict | None = None,
    device: str | None = None,
    sample: int = 200,
    seconds: float = 10.0,
    show: Callable[[str], Any] | None = None,
) -> CheckList:
    """Build everything in a config, train and validate a few batches, and check for what would go wrong later.

    Everything is written into a temporary folder, which is removed. Batches are made in this process.

    Args:
        path: the config file.
        options: changes to the config, as ``--cfg-options``.
        device: in place of the config's.
        sample: number of images of each dataset to decode.
        seconds: approximate time to measure training steps for.
        show: called with each line of the list as soon as it is known; None prints them.

    Returns:
        The checks. After a failed check, those that do not depend on it are still made.
    """
    checks = CheckList(show)
    with checks.section('config') as section:
        config = load_config(path, options)
        config.device = str(check_device(device or config.get('device')))
        if not config.get('train_dataloader'):
            raise ConfigError('the config has no train_dataloader, train_cfg and optim_wrapper, so it cannot train')
        checks.passed('config', f'{path} and its bases: every name and argument is known')
    if section.succeeded:
        with tempfile.TemporaryDirectory(prefix='detkit-check-') as folder:
            _DryRun(config, folder, checks).run(sample, seconds)
    return checks


class _DryRun:
    """The parts of a dry run that share a runner."""

    def __init__(self, config: Config, folder: str, checks: CheckList) -> None:
        self.config, self.folder, self.checks = config, folder, checks
        self.work_dir = Path(config.get('work_dir') or Path('work_dirs') / Path(config.filename).stem)
        self.workers = {
            split: number_of_workers(config[f'{split}_dataloader'].get('num_workers', 0))
            for split in ('train', 'val')
            if config.get(f'{split}_dataloader')
        }
        self.tables: dict[str, SplitTable] = {}
        self.costs = StepCosts()

    def run(self, sample: int, seconds: float) -> None:
        loaders = {split: self._load(split, sample) for split in self.workers}
        if 'train' in self.tables and 'val' in self.tables:
            check_splits(self.checks, self.tables['train'], self.tables['val'])
        runner = self._build(loaders)
        tried = False
        if runner is not None:
            try:
                if all(loader is not None for loader in loaders.values()) and self._prepare(runner):
                    tried = True
                    self._exercise(runner, seconds)
            finally:
                with contextlib.redirect_stdout(io.StringIO()):
                    runner.close()
        if not tried:
            self.checks.warned(
                'steps',
                'nothing was trained, validated or written, for what failed is needed for that',
                'check again when it is repaired',
            )

    # ---- data --------------------------------------------------------------------------------------------------------

    def _load(self, split: str, sample: int) -> DataLoader | None:
        """Build a dataset and check its annotations and images."""
        with self.checks.section(f'{split} data') as section:
            settings = {**self.config[f'{split}_dataloader'], 'num_workers': 0}
            seed = (self.config.get('randomness') or {}).get('seed') or 0
            loader = build_dataloader(settings, seed, torch.device(self.config.device).type)
            dataset = loader.dataset
            batches = count_text(len(loader), 'batch', 'batches')
            self.checks.passed(f'{split} data', f'{count_text(len(dataset), "image")} in {batches}')
        if not section.succeeded:
            return None
        if not records_of(dataset):
            return loader
        with self.checks.section(f'{split} objects'):
            table = self.tables[split] = make_table(split, dataset)
            check_skipped(self.checks, split, table)
            check_objects(self.checks, split, table, (self.config.model.get('head') or {}).get('num_classes'))
            if split == 'train':
                task = self.config.get('task')
                check_needs(self.checks, split, table, [NEED_OF_TASK.get(task, '')], f'task {task!r}')
            check_images(self.checks, split, dataset, sample)
        return loader

    # ---- building ----------------------------------------------------------------------------------------------------

    def _build(self, loaders: dict[str, DataLoader | None]) -> Runner | None:
        config = Config(self.config.to_dict(), filename=self.config.filename)
        config.work_dir, config.resume, config.launcher = self.folder, False, 'none'
        config.visualizer = None  # nothing is to be sent anywhere
        for split, loader in loaders.items():
            if loader is not None:
                config[f'{split}_dataloader'] = loader
        with self.checks.section('model') as section:
            runner = Runner(config)
            runner.scalar_log.backends.clear()  # that they could be built shows that they are installed
            model = runner.model
            trainable = sum(param.numel() for param in model.parameters() if param.requires_grad)
            self.checks.passed(
                'model',
                f'{type(model).__name__}, {count_parameters(model):,} parameters, '
                f'{trainable:,} trainable, on {runner.device}',
            )
        return runner if section.succeeded else None

    def _prepare(self, runner: Runner) -> bool:
        """Build the rest of a run, and return whether that succeeded."""
        with self.checks.section('optimiser') as section:
            runner.prepare_training()
            runner.call_hook('before_train')
            wrapper = runner.optim_wrapper
            start = f'; starts from {self.config.load_from}' if self.config.get('load_from') else ''
            self.checks.passed(
                'optimiser',
                f'{type(wrapper.optimizer).__name__}, batch {runner.batch_size} x '
                f'{wrapper.accumulate} accumulated{start}',
            )
            check_schedule(self.checks, runner)
            self._check_metrics(runner)
        return section.succeeded

    def _check_metrics(self, runner: Runner) -> None:
        if runner.val_loop is None:
            self.checks.warned(
                'validation',
                'the config has no val_dataloader, val_cfg and val_evaluator',
                'with them the best weights are kept, and overfitting is seen',
            )
            return
        for metric in runner.val_loop.evaluator.metrics:
            needs = metric.needs if isinstance(metric, GatheredMetric) else ()
            if 'val' in self.tables:
                check_needs(self.checks, 'val', self.tables['val'], needs, type(metric).__name__)
            wanted = NEED_OF_TASK.get(self.config.get('task'))
            if wanted and needs and wanted not in needs:
                self.checks.warned(
                    'val metric',
                    f'{type(metric).__name__} measures {", ".join(needs)}, but not what '
                    f'task {self.config.task!r} is about: {NEEDS[wanted][0]}',
                    f"val_evaluator.metric with '{wanted}', or the metric of the task",
                )

    # ---- running -----------------------------------------------------------------------------------------------------

    def _exercise(self, runner: Runner, seconds: float) -> None:
        with self.checks.section('training step') as training:
            self._train(runner, seconds)
            losses = ', '.join(f'{name} {value:.4g}' for name, value in runner.train_loop.losses.latest.items())
            self.checks.passed(
                'training step', f'{self.costs.count} steps of {_size(self.costs.shape)}; at last {losses}'
            )
        if training.succeeded:
            with self.checks.section('last epoch'):
                self._train_last(runner)
        if runner.val_loop is not None:
            with self.checks.section('validation'):
                self._validate(runner)
        with self.checks.section('checkpoint'):
            self._save_and_load(runner)
        if training.succeeded:
            with self.checks.section('end of training'):
                runner.call_hook('after_train')
                self.checks.passed('end of training', 'every hook came to its end')
            with self.checks.section('time'):
                check_memory(self.checks, runner, self.costs)
                check_workers(self.checks, self.workers)
                check_time(self.checks, runner, self.costs, self.workers)

    def _train(self, runner: Runner, seconds: float) -> None:
        """Run the first steps of the training."""
        loop, costs, cuda = runner.train_loop, self.costs, runner.device.type == 'cuda'
        costs.memory_before = process_peak()
        if cuda:
            torch.cuda.reset_peak_memory_stats(runner.device)
        batches = endless(loop.dataloader)
        runner.call_hook('before_train_epoch')
        runner.model.train()
        began = time.perf_counter()
        for number in range(1 + _MOST_STEPS):
            if number > _FEWEST_STEPS and time.perf_counter() - began > seconds:
                break
            started = time.perf_counter()
            batch = next(batches)
            made = time.perf_counter()
            loop.run_iter(number % loop.epoch_length, batch)
            synchronize(runner.device)
            if number:  # the first one also builds what later ones find
                costs.data.append(made - started)
                costs.step.append(time.perf_counter() - made)
        loop.losses.read()
        costs.shape = tuple(batch['inputs'].shape)
        self._note_peak(runner)

    def _train_last(self, runner: Runner) -> None:
        """Run a step as in the last epoch: without mosaic if that is closed, at the largest of several scales."""
        loop, preprocessor = runner.train_loop, unwrap(runner.model).data_preprocessor
        loop.dataloader.batch_sampler.set_epoch(loop.max_epochs - 1)
        batch = next(iter(loop.dataloader))
        text = f'a step as epoch {loop.max_epochs} makes it'
        with (
            preprocessor.largest_scale()
            if isinstance(preprocessor, DetDataPreprocessor)
            else contextlib.nullcontext() as scale
        ):
            loop.run_iter(0, batch)
            loop.losses.read()
        if scale:
            text += f', images enlarged by {scale:g}'
        self._note_peak(runner)
        self.checks.passed('last epoch', text)

    def _validate(self, runner: Runner) -> None:
        """Run a whole validation on a few images, with objects if there are any."""
        few = _FewBatches(runner.val_dataloader)
        metrics = runner.validate(batches=few)
        synchronize(runner.device)
        self.costs.val_data, self.costs.val_step = few.seconds()
        self._note_peak(runner)
        key = runner.train_loop.best_metric
        value = fitness(metrics, key)
        if value is None and key != 'fitness':
            self.checks.failed(
                'validation',
                f'train_cfg.best_metric is {key!r}, which is none of the metrics {", ".join(metrics)}',
                f"one of them, or 'fitness'.{nearest(key, metrics)}",
            )
        elif value is None:
            self.checks.warned(
                'validation',
                f'none of the metrics ({", ".join(metrics) or "there are none"}) says '
                'which weights are the best, so best.pth is never written',
                'train_cfg.best_metric=...',
            )
        else:
            names = shorten(headline_names(metrics) or metrics, 4)
            self.checks.passed('validation', f'{few.num_images} images; metrics {names}')
        runner.call_hook('after_fit_epoch', metrics=metrics, improved=False)

    def _save_and_load(self, runner: Runner) -> None:
        """Save a checkpoint to a file and load it again."""
        path = Path(self.folder) / 'checkpoint.pth'
        save_checkpoint(capture_training_state(runner), path)
        size = path.stat().st_size
        notes = restore_training_state(runner, load_checkpoint(path), path.name)
        for note in notes:
            self.checks.warned('checkpoint', note)
        if not notes:
            self.checks.passed('checkpoint', f'{size / 1e6:,.1f} MB, written and resumed from')
        path.unlink()
        check_disk(self.checks, runner, self.work_dir, size)

    def _note_peak(self, runner: Runner) -> None:
        if runner.device.type == 'cuda':
            self.costs.device_peak = torch.cuda.max_memory_allocated(runner.device) / 2**20
        self.costs.process_peak = process_peak()


class _FewBatches:
    """A stand-in for the validation loader: one batch, several times, of images with objects if there are any.

    Args:
        loader: the whole one.
    """

    def __init__(self, loader: DataLoader) -> None:
        self.dataset, self._collate = loader.dataset, loader.collate_fn
        count = loader.batch_size or loader.batch_sampler.batch_size
        records = self.dataset.records if isinstance(self.dataset, RecordDataset) else ()
        chosen = [i for i, record in enumerate(records) if len(record.annotations)][:count]
        self._indices = chosen or list(range(min(count, len(self.dataset))))
        self._times: list[tuple[float, float, float]] = []  # asked for, made, asked for the next

    def __len__(self) -> int:
        return _VAL_BATCHES

    @property
    def num_images(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[dict]:
        for _ in range(_VAL_BATCHES):
            began = time.perf_counter()
            batch = self._collate(self.dataset.__getitems__(self._indices))
            made = time.perf_counter()
            yield batch
            self._times.append((began, made, time.perf_counter()))

    def seconds(self) -> tuple[float, float]:
        """Seconds to make a batch, and to predict on it and keep the results."""
        began, made, done = self._times[-1]
        return made - began, done - made


def _size(shape: Sequence[int]) -> str:
    """Format a shape: (4, 3, 640, 640) -> '4 x 640 x 640'."""
    return ' x '.join(map(str, np.delete(shape, 1)))
