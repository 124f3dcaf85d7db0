"""``ConsoleHook`` and ``ProgressHook``: lines and progress bars on the console."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.dist import get_world_size

from detkit.engine.environment import device_text
from detkit.engine.hooks.hook import Hook
from detkit.engine.model_cost import count_flops, count_parameters
from detkit.engine.start_notes import start_notes
from detkit.engine.training_state import unwrap
from detkit.evaluation.headline import headline_names
from detkit.registry import HOOKS
from detkit.utils.numbers import count_text
from detkit.utils.progress import duration_text

if TYPE_CHECKING:
    from torch import Tensor

    from detkit.engine.runner import Runner
    from detkit.structures.data_sample import DetDataSample


@HOOKS.register_module()
class ConsoleHook(Hook):
    """Shows model, data, optimiser and device, then a progress bar for each epoch and a line for each validation.

    Args:
        one_line: put an epoch's validation on the line of its training, which is shown after the validation.
    """

    priority = 'LOW'

    def __init__(self, one_line: bool = False) -> None:
        self.one_line = one_line
        self._unfinished: tuple[str, str] | None = None  # title and text of a line that is completed after validation
        self._introduced = False
        self._epoch_began = 0.0
        self._images = 0
        self._train_began = 0.0
        self._first_position = 0.0

    def before_train(self, runner: Runner) -> None:
        loop, console, wrapper = runner.train_loop, runner.console, runner.optim_wrapper
        dataset = loop.dataloader.dataset
        counts = count_text(len(dataset), 'image'), count_text(loop.epoch_length, 'iteration')
        text = f'data     train {" in ".join(counts)}, {count_text(len(runner.classes), "class", "classes")}'
        if runner.val_loop is not None:
            text += f'; val {count_text(len(runner.val_loop.dataloader.dataset), "image")}'
        console.line(text)
        batch_size = runner.batch_size
        optimizer = wrapper.optimizer
        group = optimizer.param_groups[0]
        console.line(
            f'optim    {type(optimizer).__name__}, lr {group["initial_lr"]:g}, weight decay '
            f'{group.get("weight_decay", 0):g}, batch {batch_size}'
            + (f' × {wrapper.accumulate} accumulated' if wrapper.accumulate > 1 else '')
            + f', {count_text(loop.max_epochs, "epoch")}, seed {runner.seed}'
        )
        workers = f', {get_world_size()} processes' if get_world_size() > 1 else ''
        compiled = ', compiled network' if loop.compile else ''
        console.line(f'device   {device_text(runner.device, wrapper.amp_dtype)}{compiled}{workers}')
        for note in start_notes(runner):
            console.line(f'note     {note}')
        if loop.stop_reason:
            console.line(f'stopped  {loop.stop_reason}')
        elif loop.finished:
            # The variable, where there is one: schedules and hooks are built from it, too.
            name = 'max_epochs' if 'max_epochs' in runner.cfg else 'train_cfg.max_epochs'
            console.line(f'training is complete ({count_text(loop.epoch, "epoch")}); raise {name} to go on')
        self._train_began = time.perf_counter()
        self._first_position = loop.epoch + loop.batch / loop.epoch_length

    def before_train_epoch(self, runner: Runner) -> None:
        loop = runner.train_loop
        self._epoch_began = time.perf_counter()
        self._images = 0
        if self._introduced:
            runner.console.start_bar(self._title(runner), loop.epoch_length, loop.batch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict[str, Any]) -> None:
        if self._introduced:
            return
        self._introduced = True
        size = tuple(data_batch['inputs'].shape[-2:])
        model = unwrap(runner.model)
        flops = count_flops(model, size)
        cost = f', {flops / 1e9:.1f} GFLOPs at {size[1]}x{size[0]}' if flops else ''
        runner.console.line(f'model    {type(model).__name__}, {count_parameters(model):,} parameters{cost}')
        runner.console.start_bar(self._title(runner), runner.train_loop.epoch_length, batch_idx)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any], outputs: dict[str, Tensor]
    ) -> None:
        self._images += len(data_batch['inputs']) * get_world_size()
        if runner.console.wants_update:
            runner.console.update_bar(batch_idx + 1, self._text(runner, batch_idx + 1))

    def after_train_epoch(self, runner: Runner) -> None:
        title, text = self._title(runner), self._text(runner, runner.train_loop.batch)
        if self.one_line:
            self._unfinished = title, f'train {text}'
        else:
            runner.console.end_bar(title, text)

    def before_val_epoch(self, runner: Runner) -> None:
        if self._unfinished is None:
            runner.console.start_bar('     val', len(runner.val_loop.dataloader), transient=True)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any], outputs: Sequence[DetDataSample]
    ) -> None:
        if self._unfinished is None:
            runner.console.update_bar(batch_idx + 1, '')

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self._unfinished is None:
            runner.console.close()

    def after_fit_epoch(self, runner: Runner, metrics: dict[str, float] | None, improved: bool) -> None:
        val_text = f'val {metrics_text(metrics)}{"  (best)" if improved else ""}' if metrics else ''
        if self._unfinished is not None:
            (title, text), self._unfinished = self._unfinished, None
            runner.console.end_bar(title, f'{text}  {val_text}'.rstrip())
        elif val_text:
            runner.console.line(f'     {val_text}')
        if runner.train_loop.stop_reason:
            runner.console.line(f'stopped  {runner.train_loop.stop_reason}')

    def after_train(self, runner: Runner) -> None:
        loop = runner.train_loop
        runner.console.line(f'trained  {count_text(loop.epoch, "epoch")} in {duration_text(loop.elapsed)}')

    @staticmethod
    def _title(runner: Runner) -> str:
        width = len(str(runner.train_loop.max_epochs))
        return f'{runner.train_loop.epoch + 1:>{width}}/{runner.train_loop.max_epochs}'

    def _text(self, runner: Runner, done: int) -> str:
        loop = runner.train_loop
        now = time.perf_counter()
        losses = ' '.join(f'{name} {value:.4g}' for name, value in loop.losses.means().items())
        speed = self._images / max(now - self._epoch_began, 1e-9)
        # The time of an epoch includes validation and saving, once there has been one.
        position = loop.epoch + done / loop.epoch_length
        seconds_an_epoch = (now - self._train_began) / max(position - self._first_position, 1e-9)
        remaining = (loop.max_epochs - position) * seconds_an_epoch
        lr = next(iter(runner.learning_rates().values()))
        return f'{losses}  lr {lr:.2e}  {speed:.1f} img/s  ETA {duration_text(remaining)}'


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows the progress bar of a test, and its speed at the end."""

    def __init__(self) -> None:
        self._began = 0.0
        self._images = 0

    def before_test_epoch(self, runner: Runner) -> None:
        self._began, self._images = time.perf_counter(), 0
        runner.console.start_bar('test', len(runner.test_dataloader))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any], outputs: Sequence[DetDataSample]
    ) -> None:
        self._images += len(outputs) * get_world_size()
        if runner.console.wants_update:
            runner.console.update_bar(batch_idx + 1, self._text())

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        runner.console.end_bar('test', self._text())

    def _text(self) -> str:
        return f'{count_text(self._images, "image")}, {self._images / (time.perf_counter() - self._began):.1f} images/s'


def metrics_text(metrics: dict[str, float]) -> str:
    """Return the headline results among ``metrics``, or the first six where no metric declares one, on one line."""
    names = headline_names(metrics) or list(metrics)[:6]
    several = len({name.rpartition('/')[0] for name in names}) > 1  # metrics, whose results may have the same names
    words = [name.replace('/', ' ') if several else name.rsplit('/', 1)[-1] for name in names]
    return '  '.join(
        f'{word.replace("_", " ")} {float(metrics[name]):.3f}' for word, name in zip(words, names, strict=True)
    )
