"""The training loop: epochs that can be entered at any iteration."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.utils.data import DataLoader

from detkit.datasets.loader import empty_epoch
from detkit.engine.finetune import freeze_batch_norm, freeze_modules
from detkit.engine.loss_log import LossLog, NonFiniteLossError
from detkit.engine.non_finite import SkippedBatches, restore_with_smaller_rate
from detkit.engine.parted_step import PartedSteps
from detkit.engine.random_state import preserved_random_state
from detkit.engine.stop_signals import TrainingStopped, ValidationStopped
from detkit.engine.training_state import unwrap
from detkit.evaluation.headline import fitness
from detkit.models.data_preprocessor import StepKey
from detkit.models.heads import BaseHead
from detkit.registry import LOOPS
from detkit.utils.allocator import GrowthLimit
from detkit.utils.errors import CheckpointError, ConfigError, nearest

if TYPE_CHECKING:
    from detkit.engine.runner import Runner


@LOOPS.register_module()
class TrainLoop:
    """Trains by epochs, validates every ``val_interval`` of them, and at the end evaluates the best weights.

    For the points at which hooks are called see ``detkit.engine.Hook``.

    Args:
        runner: the runner.
        dataloader: the loader of the training data, or its config.
        max_epochs: epochs to train.
        val_interval: epochs from one validation to the next; the last epoch is always validated.
        val_begin: first epoch to validate after, counted from 1.
        best_metric: the metric by which weights are the best so far: 'fitness' (.1 mAP50 + .9 mAP over boxes and
            masks; the mean of top-1 and top-5 accuracy), or the name of any result of a metric; see ``fitness``.
        final_eval: evaluate the best checkpoint when training has ended.
        log_interval: iterations between two readings of the losses.
        freeze: parts that do not train, by name (``['backbone', 'neck']`` leaves the head) or the number of the first
            ones of the backbone, see ``freeze_modules``.
        non_finite: what follows a loss or gradient that is infinite or not a number: 'stop' the run; 'skip' the batch,
            or the step (waits for the device in each batch); 'restore' the last checkpoint and go on from it with half
            of the learning rate. After ten batches in a row, or five restorations, the run stops.
        out_of_memory: what follows where the memory is too small for a step: 'stop' the run; 'halve' to make the step
            again in parts, see ``PartedSteps``; one process only.
        compile: whether ``torch.compile`` compiles the network; also a mode of it, or a dict of its arguments, see
            ``compile_network``.

    Attributes:
        epoch: completed epochs.
        iter: completed iterations; inside the hooks of an iteration, those before it.
        batch: completed iterations of the current epoch.
        val_pending: whether the validation of the last counted epoch is still to be done.
        lr_factor: what learning rates are multiplied by.
        num_restores: how often training went back to a checkpoint.
        stop_training: whether training ends after the current epoch.
        stop_reason: the reason, which is shown.
        losses: the losses of the current epoch.
        final_metrics: the results of the validation after the last epoch, whose samples are kept; None before it.
        best_fitness, best_epoch, best_metrics: the best validation so far; None, 0 and empty before the first.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        max_epochs: int,
        val_interval: int = 1,
        val_begin: int = 1,
        best_metric: str = 'fitness',
        final_eval: bool = True,
        log_interval: int = 10,
        freeze: int | str | Sequence[str] = (),
        non_finite: str = 'stop',
        out_of_memory: str = 'stop',
        compile: bool | str | Mapping[str, Any] = False,
    ) -> None:
        self.runner = runner
        self.dataloader = runner.build_dataloader(dataloader)
        if len(self.dataloader) == 0:
            raise empty_epoch(len(self.dataloader.dataset), self.dataloader.batch_sampler.batch_size * get_world_size())
        self.max_epochs = int(max_epochs)
        self.val_interval = val_interval
        self.val_begin = val_begin
        self.best_metric = best_metric
        self.final_eval = final_eval
        self.log_interval = log_interval
        self.freeze = freeze
        self.non_finite = non_finite
        self.out_of_memory = out_of_memory
        self.compile = compile
        self._steps = PartedSteps(runner, out_of_memory)
        self.lr_factor = 1.0
        self.num_restores = 0
        self._skipped: SkippedBatches | None = None
        self.stop_training = False
        self.stop_reason = ''
        self.losses = LossLog(Path(runner.work_dir) / 'last.pth')
        self.final_metrics: dict[str, float] | None = None
        self.best_fitness: float | None = None
        self.best_epoch = 0
        self.progress_epoch = 0  # the last that was better than all before, or that no metric could judge
        self.best_metrics: dict[str, float] = {}
        self.epoch = 0
        self.iter = 0
        self.batch = 0
        self.val_pending = False
        self._elapsed_before = 0.0
        self._started = time.perf_counter()
        self._frozen_layers: list[nn.Module] = []
        self._growth = GrowthLimit()

    @property
    def epoch_length(self) -> int:
        """Iterations of an epoch."""
        return len(self.dataloader)

    @property
    def max_iters(self) -> int:
        """Iterations of the whole run."""
        return self.max_epochs * self.epoch_length

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, including those before a resume."""
        return self._elapsed_before + time.perf_counter() - self._started

    @property
    def finished(self) -> bool:
        """Whether no epoch follows."""
        return self.epoch >= self.max_epochs or self.stop_training

    @property
    def is_between_epochs(self) -> bool:
        """Whether an epoch and its validation have ended, and the next one has not begun."""
        return self.epoch > 0 and self.batch == 0 and not self.val_pending

    def position(self) -> str:
        """Return words for where the run is."""
        if self.finished:
            return 'after the last epoch'
        when = 'at its end' if self.val_pending else f'iteration {self.batch + 1}'
        return f'in epoch {self.epoch + (not self.val_pending)}, {when}'

    def stop(self, reason: str) -> None:
        """End training after the current epoch; ``reason`` is shown."""
        self.stop_training = True
        self.stop_reason = self.stop_reason or reason

    def freeze_parts(self, model: nn.Module) -> None:
        """Apply ``freeze``; before the optimiser is built."""
        self._frozen_layers = freeze_modules(model, self.freeze) if self.freeze else []

    def run(self) -> nn.Module:
        """Train until ``max_epochs``, or until a hook stops the loop.

        Raises:
            TrainingStopped: a signal stopped it, see ``StopSignals``; ``before_stop`` of the hooks has been called.
        """
        self._started = time.perf_counter()
        with self.runner.stop_signals:
            if self.non_finite == 'skip':
                self._skipped = SkippedBatches(self.runner)
                self.runner.optim_wrapper.skips_non_finite = True
            self.runner.call_hook('before_train')
            while self.val_pending or not self.finished:
                try:
                    if self.val_pending:
                        self.runner.param_schedulers.apply(self.iter - 1)  # the learning rates that are logged with it
                        self._validate_epoch()
                        continue
                    self.run_epoch()
                    self.finish_epoch()
                    self._growth.check()
                except NonFiniteLossError as error:
                    if self.non_finite != 'restore':
                        raise
                    restore_with_smaller_rate(self.runner, error)
        self.runner.checkpoint_writer.wait()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train the rest of the current epoch."""
        runner = self.runner
        if self.batch == 0:
            self.losses.reset()
        runner.call_hook('before_train_epoch')
        runner.model.train()
        freeze_batch_norm(self._frozen_layers)
        with preserved_random_state():
            sampler = self.dataloader.batch_sampler
            sampler.set_epoch(self.epoch)
            if self.batch:
                sampler.skip(self.batch)
            batches = iter(self.dataloader)
        for data_batch in batches:
            self.run_iter(self.batch, data_batch)
        runner.call_hook('after_train_epoch')

    def _go_on_training(self) -> None:
        """Put the model into training mode again, and what is frozen out of it, where a hook has predicted with it."""
        if not unwrap(self.runner.model).training:
            self.runner.model.train()
        freeze_batch_norm(self._frozen_layers)

    def run_iter(self, batch_idx: int, data_batch: dict[str, Any]) -> None:
        """Make one step."""
        runner = self.runner
        optim_wrapper = runner.optim_wrapper
        data_batch = {**data_batch, 'step_key': StepKey(runner.seed, self.iter, optim_wrapper.num_steps)}
        runner.call_hook('before_train_iter', batch_idx=batch_idx, data_batch=data_batch)
        self._go_on_training()
        runner.param_schedulers.apply(self.iter)
        if self._skipped is not None:
            self._skipped.before_step()
        outputs = self._steps.make(data_batch)
        images = [str(sample.metainfo.get('img_path', '')) for sample in data_batch.get('data_samples') or []]
        watch_norm = optim_wrapper.stepped and optim_wrapper.scaler is None  # fp16 steps may overflow and are skipped
        batch_size = len(data_batch['inputs'])
        if self._skipped is not None and optim_wrapper.left_out:
            self._skipped.undo(images)
        else:
            if self._skipped is not None:
                self._skipped.in_a_row = 0
            self.losses.add(
                self.iter,
                outputs,
                batch_size,
                images,
                optim_wrapper.grad_norm if watch_norm else None,
                loss_divisor(unwrap(runner.model), batch_size),
            )
        is_last = batch_idx + 1 == self.epoch_length
        if is_last or runner.device.type == 'cpu' or (self.iter + 1) % self.log_interval == 0:
            self.losses.read()
        runner.call_hook('after_train_iter', batch_idx=batch_idx, data_batch=data_batch, outputs=outputs)
        self.iter += 1
        self.batch += 1
        if self.iter % self.log_interval == 0:
            self._growth.check()
        runner.call_hook('after_fit_iter')
        # Several processes agree at intervals, in which they wait for the device anyway.
        if not is_last and (get_world_size() == 1 or self.iter % self.log_interval == 0):
            self._stop_if_asked()

    def finish_epoch(self) -> None:
        """Count the epoch, and validate where due."""
        self.epoch += 1
        self.batch = 0
        self.val_pending = True
        self._stop_if_asked()
        self._validate_epoch()

    def _validate_epoch(self) -> None:
        """Validate the last counted epoch where due, and call the hooks of its end."""
        metrics, improved = None, False
        if self.val_due():
            try:
                metrics = self.runner.validate(keep=self.finished)
                self.final_metrics = metrics if self.finished else None
            except ValidationStopped:
                self._stop_if_asked()
            improved = self._is_best(metrics)
        self.val_pending = False
        self.runner.call_hook('after_fit_epoch', metrics=metrics, improved=improved)
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        """End training where a process has received a signal; each must call it at the same iteration."""
        number = self.runner.stop_signals.agreed()
        if number:
            self.runner.call_hook('before_stop')
            raise TrainingStopped(signal.Signals(number).name)

    def val_due(self) -> bool:
        """Return whether the epoch that has just been counted is to be validated."""
        if self.runner.val_loop is None:
            return False
        return self.finished or (self.epoch >= self.val_begin and self.epoch % self.val_interval == 0)

    def _is_best(self, metrics: dict[str, float]) -> bool:
        """Return whether the weights are the best so far; of equally good ones the later are, as they learnt more."""
        value = fitness(metrics, self.best_metric)
        known = self.best_metric == 'fitness' or any(_means(name, self.best_metric) for name in metrics)
        if value is None and not known:
            raise ConfigError(
                f'train_cfg.best_metric is {self.best_metric!r}, which is none of the results '
                f'{", ".join(metrics)}.{nearest(self.best_metric, metrics)}'
            )
        if value is None or self.best_fitness is None or value > self.best_fitness:
            self.progress_epoch = self.epoch
        if value is None or (self.best_fitness is not None and value < self.best_fitness):
            return False
        self.best_fitness, self.best_epoch, self.best_metrics = value, self.epoch, _plain(metrics)
        return True

    def forget_best(self) -> None:
        """Look for the best validation anew, as the weights of the one so far are not there any more."""
        self.best_fitness, self.best_epoch, self.best_metrics = None, 0, {}

    def scale_rates(self, factor: float) -> None:
        """Multiply the learning rates of the config by ``factor`` from now on, in place of the one before."""
        for group in self.runner.optim_wrapper.optimizer.param_groups:
            for key in ('initial_lr', 'lr'):
                if key in group:
                    group[key] *= factor / self.lr_factor
        self.lr_factor = factor

    def state_dict(self) -> dict[str, Any]:
        return {
            'epoch': self.epoch,
            'iter': self.iter,
            'batch': self.batch,
            'val_pending': self.val_pending,
            'lr_factor': self.lr_factor,
            'num_restores': self.num_restores,
            'epoch_length': self.epoch_length,
            'batch_size': self.runner.batch_size,
            'world_size': self.runner.world_size,
            'elapsed': self.elapsed,
            'best_fitness': self.best_fitness,
            'best_epoch': self.best_epoch,
            'progress_epoch': self.progress_epoch,
            'best_metrics': self.best_metrics,
            'losses': self.losses.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the position at which a checkpoint was written.

        With another number of processes an epoch that had begun goes on at most one iteration's images before its
        position.

        Raises:
            CheckpointError: it lies within an epoch of other data, or of another batch size of as many processes.
        """
        is_other_batch = state['batch'] and state.get('batch_size', self.runner.batch_size) != self.runner.batch_size
        if is_other_batch or state['epoch_length'] != self.epoch_length:
            # Schedules count iterations; whole epochs keep their meaning.
            batch = self._same_position(state) if state['batch'] else 0
            state = {**state, 'batch': batch, 'iter': state['epoch'] * self.epoch_length + batch}
        self.epoch, self.iter, self.batch = state['epoch'], state['iter'], state['batch']
        self.val_pending = state.get('val_pending', False)  # absent from older checkpoints
        self.scale_rates(state.get('lr_factor', 1.0))
        self.num_restores = state.get('num_restores', 0)
        self._elapsed_before = state['elapsed']
        self.best_fitness, self.best_epoch = state['best_fitness'], state['best_epoch']
        self.best_metrics = state['best_metrics']
        self.progress_epoch = state.get('progress_epoch', self.best_epoch)  # absent from older checkpoints
        self.losses.load_state_dict(state['losses'])

    def _same_position(self, state: dict[str, Any]) -> int:
        """Return the iteration of the epoch with which the images go on that had not been read at a checkpoint."""
        old, new = state.get('batch_size', 0), self.runner.batch_size  # the key is absent from older checkpoints
        other_data = abs(state['epoch_length'] * old - self.epoch_length * new) >= max(old, new)
        if other_data or state['world_size'] == self.runner.world_size:
            raise CheckpointError(
                f'the checkpoint lies within an epoch of {state["epoch_length"]} iterations of {old or "?"} images, '
                f'but an epoch has {self.epoch_length} of {new} now: resume with the same data and batch '
                'size, or start a new run from it with load_from.'
            )
        return min(state['batch'] * old // new, self.epoch_length - 1)


def loss_divisor(model: nn.Module, batch_size: int) -> float:
    """Return the number by which a model's losses are divided to be means over the images of a batch."""
    head = next((module for module in model.modules() if isinstance(module, BaseHead)), None)
    return batch_size if head is None else head.loss_divisor(batch_size)


def _means(name: str, key: str) -> bool:
    """Return whether ``key`` is the name of a result, with or without its prefix, or the end of it."""
    return name == key or name.rpartition('/')[2] == key or name.endswith(f'_{key}')


def _plain(metrics: dict[str, Any]) -> dict[str, float]:
    """Return the numbers among ``metrics`` as Python floats."""
    return {key: float(value) for key, value in metrics.items() if isinstance(value, int | float | np.number | Tensor)}
