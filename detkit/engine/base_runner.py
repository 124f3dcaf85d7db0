"""``BaseRunner``: what a run consists of: its processes, folder, logs, model, hooks and loops."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, get_dist_info, is_main_process
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from torch import nn
from torch.utils.data import DataLoader

from detkit import __version__
from detkit.config import located, origin_of_resolved, origins_of, resolved_text
from detkit.config.start import start_line
from detkit.config.top_level import check_groups, refuse_foreign_scope
from detkit.datasets.loader import build_dataloader
from detkit.engine.checkpoint import refuse_extra_state
from detkit.engine.checkpoint_writer import CheckpointWriter
from detkit.engine.console import Console, LogFiles
from detkit.engine.data_state import data_state
from detkit.engine.environment import choose_device, environment_text
from detkit.engine.eval_loops import EvalLoop, TestLoop, ValLoop
from detkit.engine.folder_lock import is_locked
from detkit.engine.hooks.ema_hook import ModelEMA
from detkit.engine.hooks.hook import Hook
from detkit.engine.launch import init_distributed
from detkit.engine.mmengine_names import Elsewhere
from detkit.engine.optim_constructor import group_names
from detkit.engine.random_state import seed_everything
from detkit.engine.run_folder import (
    CONFIG_FILE,
    LOG_FILE,
    choose_run_folder,
    display_path,
    removed_on_mistake,
    run_name,
)
from detkit.engine.scalar_log import ScalarLog
from detkit.engine.stop_signals import StopSignals
from detkit.engine.train_loop import TrainLoop
from detkit.evaluation.evaluator import Evaluator
from detkit.registry import DETECTORS, HOOKS, LOOPS, VISUALIZERS, is_own, package_of, refuse_unregistered
from detkit.utils.errors import ComponentError, ConfigError, DataError, DetkitError, reason_of
from detkit.utils.files import write_text
from detkit.utils.interrupts import die_of_interrupts_at_exit
from detkit.utils.pictures import read_picture, write_picture
from detkit.utils.priorities import priority_number

DEFAULT_HOOKS: dict[str, dict[str, Any]] = dict(
    ema=dict(type='EMAHook'),
    close_mosaic=dict(type='CloseTransformsHook'),
    early_stopping=dict(type='EarlyStoppingHook'),
    time_limit=dict(type='TimeLimitHook'),
    skipped=dict(type='SkippedHook'),
    scalars=dict(type='ScalarLogHook'),
    console=dict(type='ConsoleHook'),
    checkpoint=dict(type='CheckpointHook'),
)


def hooks_of(config: Config) -> list[Hook | dict[str, Any]]:
    """Return the hooks of a config's runs, in the order in which they are registered."""
    default = {**DEFAULT_HOOKS, **(config.get('default_hooks') or {})}
    return [hook for hook in (*default.values(), *(config.get('custom_hooks') or ())) if hook is not None]


class BaseRunner(Elsewhere):
    """The parts of a run, built from its config.

    It has the attributes of mmengine's runner that hooks read, and none of its methods that cannot work here: asking
    for one of these raises ``AttributeError`` with what to use.

    Args:
        cfg: the whole config; the keys are those of ``detkit.config``. A component may also be an object.

    Attributes:
        cfg: the config.
        work_dir: the run's folder.
        seed, rank, world_size, distributed, device: this process's.
        logger, console, scalar_log, message_hub: where messages, lines and results go.
        model: the detector, wrapped in a distributed run.
        hooks: the hooks in the order in which they are called.
        classes: class names of the data.
        keypoints: names, sigmas, skeleton and flip pairs of the data's keypoints; empty without keypoints.
        ema: the averaged weights; None without ``EMAHook``.
        resumed: whether this run goes on from a checkpoint.
        resumed_from: that checkpoint's file; None where there is none.
        started_from: where the weights that training started from are from, see ``Conversion.origin``, with their
            ``checkpoint``; empty for random ones.
        stop_signals: the signals that stop training, noted while its loop runs.
        checkpoint_writer: writes the checkpoints, in the main process alone.

    Raises:
        ConfigError: a part of the config is missing or wrong.
    """

    def __init__(self, cfg: Config | Mapping[str, Any]) -> None:
        self.cfg = cfg = cfg if isinstance(cfg, Config) else Config(cfg)
        refuse_unregistered(cfg.to_dict())
        refuse_foreign_scope(cfg.get('default_scope'))
        check_groups(cfg, origins_of(cfg), missing=True)
        if cfg.get('model') is None:
            raise ConfigError(f"{cfg.filename or 'the config'} has no 'model'; is it whole?")
        self._loops: dict[str, TrainLoop | EvalLoop] = {}
        self.resumed = False
        self.resumed_from: Path | None = None
        self.started_from: dict[str, Any] = {}
        die_of_interrupts_at_exit()
        self.stop_signals = StopSignals()
        self.checkpoint_writer = CheckpointWriter(lambda line: self.console.line(line))
        self.ema: ModelEMA | None = None
        self._failed_writes: set[str] = set()
        self.hooks: list[Hook] = []
        self.classes: tuple[str, ...] = tuple(cfg.get('classes') or ())
        self.keypoints: dict[str, Any] = {}

        launcher, env_cfg = cfg.get('launcher', 'none'), cfg.get('env_cfg') or {}
        init_distributed(launcher, cfg.get('device'), env_cfg.get('backend'), env_cfg.get('timeout', 1800))
        self.rank, self.world_size = get_dist_info()
        self.distributed = launcher != 'none'
        self.device = choose_device(cfg.get('device'), self.distributed, bool(env_cfg.get('cudnn_benchmark', False)))
        self.seed = seed_everything(**{'seed': None, **(cfg.get('randomness') or {})})

        self._name = run_name(cfg.filename, cfg)
        self._trains = cfg.get('train_cfg') is not None
        self.work_dir = str(
            choose_run_folder(cfg.get('work_dir'), self._name, cfg.get('resume', False))
            if self._trains
            else Path(cfg.get('work_dir') or Path('work_dirs') / self._name).absolute()
        )
        with self._tidied_on_mistake():
            self._build()

    # ---- building ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _tidied_on_mistake(self) -> Iterator[None]:
        """Locate mistakes of the config; after one, a training that has not begun leaves no folder and no lock."""
        folder = removed_on_mistake(Path(self.work_dir), not self.cfg.get('resume')) if self._trains else nullcontext()
        with folder, located(self.cfg):
            yield

    def _build(self) -> None:
        # mmengine finds loggers and scopes by this name, so no two runs of a process may share it.
        self.experiment_name = f'{self._name}_{time.time_ns()}'
        self.default_scope = DefaultScope.get_instance(self.experiment_name, scope_name='detkit')
        log_file = str(Path(self.work_dir, LOG_FILE)) if self._trains else None
        self.logger = MMLogger.get_instance(
            self.experiment_name, log_level=self.cfg.get('log_level', 'INFO'), log_file=log_file, file_mode='a'
        )
        self.console = Console(self.logger, self.stop_signals)
        self._log_files = LogFiles(self.logger, self.console, capture_warnings=self._trains)
        self.message_hub = MessageHub.get_instance(self.experiment_name)
        self.scalar_log = ScalarLog(self.cfg.get('log_to') if self._trains else None, self.work_dir)
        visualizer = self.cfg.get('visualizer')
        if visualizer is not None:
            defaults = dict(name=self.experiment_name, save_dir=self.work_dir)
            is_config = isinstance(visualizer, Mapping)
            self.scalar_log.backends.append(VISUALIZERS.build(visualizer, defaults) if is_config else visualizer)
        if self._trains:
            self._log_summary()
        model = self.cfg['model']
        self.model = (model if isinstance(model, nn.Module) else DETECTORS.build(model)).to(self.device)
        if self._trains:
            with located(self.cfg):
                refuse_extra_state(self.model)
        for hook in hooks_of(self.cfg):
            self.register_hook(hook)
        self.logger.info('Hooks: %s', ', '.join(type(hook).__name__ for hook in self.hooks))

    def _log_summary(self) -> None:
        config = display_path(self.cfg.filename) if self.cfg.filename else self._name
        self.console.line(f'detkit {__version__}, torch {torch.__version__}, config {config}')
        self.console.line(f'folder   {display_path(self.work_dir)}')
        self.logger.info('Environment:\n%s', environment_text())
        self.logger.info('Config:\n%s', resolved_text(self.cfg))
        if is_main_process() and not is_locked(Path(self.work_dir)):
            self.console.line('note     the file system has no locks: resume this run only when it has ended')
        if not self.cfg.get('resume'):
            self._write_config()

    def _write_config(self) -> None:
        """Write the config into the run's folder; that of a resumed run is replaced only when it is known to fit."""
        if is_main_process():
            file = Path(self.work_dir, CONFIG_FILE)
            is_own = bool(self.cfg.filename) and Path(self.cfg.filename).resolve() == file.resolve()  # resumed
            origin = origin_of_resolved(file) if is_own else None
            write_text(file, resolved_text(self.cfg, origin, start_line(self.cfg, file if is_own else None)))

    def register_hook(self, hook: Hook | Mapping[str, Any], priority: int | str | None = None) -> None:
        """Add a hook behind those of the same or a higher priority.

        Args:
            hook: the hook, or its config, which may state a ``priority``.
            priority: 0 (first) to 100 or a name such as 'LOW'; None for the hook's own.
        """
        if isinstance(hook, Mapping):
            priority = hook.get('priority') if priority is None else priority
            hook = HOOKS.build({key: value for key, value in hook.items() if key != 'priority'})
        if priority is not None:
            hook.priority = priority
        self.hooks.append(hook)
        self.hooks.sort(key=lambda each: priority_number(each.priority))  # equals stay in the order of registration

    def call_hook(self, point: str, **arguments: Any) -> None:
        """Call the method ``point`` of every hook with the runner and ``arguments``."""
        for hook in self.hooks:
            method = getattr(hook, point, None)  # mmengine's own hooks lack the points that only detkit has
            if method is None:
                continue
            is_optional = isinstance(hook, Hook) and hook.is_optional
            try:
                with self.noting_failed_writes(type(hook).__name__) if is_optional else nullcontext():
                    method(self, **arguments)
            except DetkitError:
                raise
            except Exception as error:
                kind = type(hook)
                if not is_own(kind):
                    raise
                reason = reason_of(error, {package_of(kind)})
                with located(self.cfg):
                    raise ComponentError(f'{kind.__name__}.{point} fails: {reason}', kind.__name__) from error

    @contextmanager
    def noting_failed_writes(self, what: str) -> Iterator[None]:
        """Leave the block where a file cannot be written, and let the run go on; a line says so once for ``what``.

        A table that is damaged, so that nothing can be added to it, counts as such a file.
        """
        try:
            yield
        except DataError as error:
            if what not in self._failed_writes:
                self._failed_writes.add(what)
                self.console.line(f'note     {error}; the run goes on')
        except OSError as error:
            if what not in self._failed_writes:
                self._failed_writes.add(what)
                path = f'{display_path(error.filename)}: ' if error.filename else ''
                self.console.line(f'note     {what} cannot write ({path}{error.strerror or error}); the run goes on')

    def check_folder(self) -> None:
        """Raise ``FileNotFoundError`` where the run's folder is gone, before something makes another in its place.

        The files of the rest of the run would then lie in a folder that has neither its checkpoints nor its lock.
        """
        if not Path(self.work_dir).is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.work_dir)

    def build_dataloader(self, dataloader: DataLoader | Mapping[str, Any]) -> DataLoader:
        """Return the loader that a config describes, or the loader itself."""
        if isinstance(dataloader, DataLoader):
            return dataloader
        return build_dataloader(dict(dataloader), seed=self.seed, device_type=self.device.type)

    def _loop(self, split: str, **parts: Any) -> Any:
        """Return the loop of 'train', 'val' or 'test', built when it is first asked for; None where there is none."""
        config = self.cfg.get(f'{split}_cfg')
        if split not in self._loops and config is not None:
            if isinstance(config, Mapping):
                with located(self.cfg):
                    dataloader = self.build_dataloader(self.cfg[f'{split}_dataloader'])
                    default = {'type': f'{split.capitalize()}Loop'}
                    config = LOOPS.build({**default, **config, 'runner': self, 'dataloader': dataloader, **parts})
            self._loops[split] = config
        return self._loops.get(split)

    @property
    def train_loop(self) -> TrainLoop:
        """The loop of training, built when it is first asked for."""
        if not self._trains:
            raise ConfigError('the config has no train_cfg, train_dataloader and optim_wrapper, so it cannot train.')
        return self._loop('train')

    @property
    def val_loop(self) -> ValLoop | None:
        """The loop of validation, built when it is first asked for; None where the config has none."""
        return self._loop('val', evaluator=self.cfg.get('val_evaluator'))

    @property
    def test_loop(self) -> TestLoop | None:
        """The loop of a test, built when it is first asked for; None where the config has none."""
        return self._loop('test', evaluator=self.cfg.get('test_evaluator'))

    @cached_property
    def data_state(self) -> dict[str, dict[str, Any]]:
        """The ``data_state`` of the training and of the validation data, by name, which checkpoints keep."""
        loops = {'training': self.train_loop, 'validation': self.val_loop}
        return {name: data_state(loop.dataloader.dataset) for name, loop in loops.items() if loop is not None}

    # ---- state -------------------------------------------------------------------------------------------------------

    @property
    def is_training(self) -> bool:
        """Whether the run is one of training, which has begun."""
        return 'train' in self._loops

    @property
    def epoch(self) -> int:
        """Completed epochs; 0 without training."""
        return self.train_loop.epoch if self.is_training else 0

    @property
    def iter(self) -> int:
        """Completed iterations; 0 without training."""
        return self.train_loop.iter if self.is_training else 0

    @property
    def max_epochs(self) -> int:
        """Epochs of the whole run."""
        return self.train_loop.max_epochs

    @property
    def max_iters(self) -> int:
        """Iterations of the whole run."""
        return self.train_loop.max_iters

    @property
    def train_dataloader(self) -> DataLoader:
        """The loader of the training data."""
        return self.train_loop.dataloader

    @property
    def val_dataloader(self) -> DataLoader | None:
        """The loader of the validation data."""
        return self.val_loop.dataloader if self.val_loop is not None else None

    @property
    def test_dataloader(self) -> DataLoader | None:
        """The loader of the test data."""
        return self.test_loop.dataloader if self.test_loop is not None else None

    @property
    def val_evaluator(self) -> Evaluator | None:
        """The metrics of the validation."""
        return self.val_loop.evaluator if self.val_loop is not None else None

    @property
    def test_evaluator(self) -> Evaluator | None:
        """The metrics of the test."""
        return self.test_loop.evaluator if self.test_loop is not None else None

    @property
    def batch_size(self) -> int:
        """Images of one iteration, over all processes."""
        loader = self.train_dataloader
        return (loader.batch_size or loader.batch_sampler.batch_size) * self.world_size

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rate of each parameter group at this iteration, by the group's name."""
        groups = self.optim_wrapper.optimizer.param_groups
        return {name: group['lr'] for name, group in zip(group_names(groups), groups, strict=True)}

    def broadcast_from_main(self, value: Any) -> Any:
        """Return the main process's ``value`` on every process."""
        return all_gather_object(value)[0]

    def log_picture(self, name: str, image: np.ndarray | None = None, step: int | None = None) -> None:
        """Write a picture into the run's folder, and send it to the programs of ``log_to``.

        Args:
            name: the file's, ending in ``.jpg`` or ``.png``; the programs call the picture by its stem.
            image: ``(H, W, 3)`` uint8 RGB; None where the file is there already.
            step: iterations done; those so far where left out.
        """
        if not is_main_process():
            return
        path = Path(self.work_dir, name)
        with self.noting_failed_writes('pictures'):
            self.check_folder()
            if image is not None:
                write_picture(path, image)
            if self.scalar_log.backends:
                image = read_picture(path) if image is None else image
                self.scalar_log.add_image(path.stem, image, self.iter if step is None else step)
