"""Estimates of a run's time, memory and disk space, from a few of its steps."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from detkit.analysis.runs.checklist import CheckList
from detkit.engine.hooks import CheckpointHook, TimeLimitHook
from detkit.utils.processors import processors
from detkit.utils.progress import duration_text

if TYPE_CHECKING:
    from detkit.engine.runner import Runner

_NEARLY_FULL = 0.9  # share of an accelerator's memory


@dataclass
class StepCosts:
    """Time and memory of a run's steps.

    Attributes:
        data, step: seconds of each timed step, to make its batch in one process, and to train on it.
        val_data, val_step: the same of a validation batch.
        shape: shape of the training batches.
        memory_before, process_peak: most main memory (MiB) before training and ever; None where not known.
        device_peak: most memory of tensors on the accelerator (MiB); None on a CPU.
    """

    data: list[float] = field(default_factory=list)
    step: list[float] = field(default_factory=list)
    val_data: float = 0.0
    val_step: float = 0.0
    shape: tuple[int, ...] = ()
    memory_before: float | None = None
    process_peak: float | None = None
    device_peak: float | None = None

    @property
    def count(self) -> int:
        """Number of steps, including the first one, which is not timed."""
        return len(self.step) + 1


def check_time(checks: CheckList, runner: Runner, costs: StepCosts, workers: dict[str, int]) -> None:
    """Estimate the time of an epoch and of the run from the medians of the steps.

    Workers make batches while the network trains: an iteration takes as long as the slower of the two. That they share
    the processors with the network on a CPU is not part of the estimate.
    """
    loop = runner.train_loop
    data, step = float(np.median(costs.data)), float(np.median(costs.step))
    epoch = loop.epoch_length * _together(data, step, workers['train'])
    validation = validations = 0.0
    if runner.val_loop is not None:
        validation = len(runner.val_loop.dataloader) * _together(costs.val_data, costs.val_step, workers['val'])
        validations = sum(
            number % loop.val_interval == 0 or number == loop.max_epochs
            for number in range(min(loop.val_begin, loop.max_epochs), loop.max_epochs + 1)
        )
    total = loop.max_epochs * epoch + validations * validation
    text = (
        f'a batch takes {data * 1e3:,.0f} ms to make in one process and {step * 1e3:,.0f} ms to train on: an epoch '
        f'about {_duration(epoch)}'
    )
    if validation:
        text += f', a validation {_duration(validation)} and its metrics'
    checks.passed('time', f'{text};\nthe run of {loop.max_epochs} epochs about {_duration(total)}')
    ready = data / max(_useful(workers['train']), 1)
    if workers['train'] and ready > 1.2 * step:
        checks.warned(
            'data loading',
            f'{workers["train"]} workers make a batch in {ready * 1e3:,.0f} ms, but it is '
            f'trained on in {step * 1e3:,.0f} ms: the network waits',
            "more num_workers, where there are processors for them, or cache='ram' of the dataset",
        )
    for hook in runner.hooks:
        if isinstance(hook, TimeLimitHook) and hook.hours and hook.hours * 3600 < total:
            checks.warned(
                'time limit',
                f'TimeLimitHook ends the run after {hook.hours:g} h, about epoch '
                f'{int(hook.hours * 3600 / total * loop.max_epochs)} of {loop.max_epochs}: the learning rate '
                'does not come to its end',
                'fewer epochs, or more hours',
            )


def _together(data: float, step: float, workers: int) -> float:
    return max(step, data / _useful(workers)) if workers else data + step


def _useful(workers: int) -> int:
    return min(workers, processors())


def _duration(seconds: float) -> str:
    return duration_text(seconds) if seconds >= 10 else f'{seconds:.1f} s'


def check_workers(checks: CheckList, workers: dict[str, int]) -> None:
    """Check that there are processors for the workers."""
    for split, count in workers.items():
        if count > processors():
            checks.warned(
                'workers',
                f'{split}_dataloader.num_workers is {count}, but this process may use {processors()} processors',
                f'num_workers={processors()} or less',
            )


def check_memory(checks: CheckList, runner: Runner, costs: StepCosts) -> None:
    """Report the peak memory of the steps."""
    if costs.device_peak is not None:
        total = torch.cuda.get_device_properties(runner.device).total_memory / 2**20
        text = f'{costs.device_peak:,.0f} of {total:,.0f} MiB of {runner.device}'
        if costs.device_peak > _NEARLY_FULL * total:
            checks.warned(
                'memory', text + ': batches with more objects may need more than there is', 'a smaller batch_size'
            )
        else:
            checks.passed('memory', text)
    elif costs.process_peak is not None and costs.memory_before is not None:
        checks.passed(
            'memory',
            f'{costs.process_peak:,.0f} MiB, of which training takes '
            f'{costs.process_peak - costs.memory_before:,.0f}; each worker comes on top',
        )


def check_disk(checks: CheckList, runner: Runner, work_dir: Path, size: int) -> None:
    """Check that the checkpoints of the run fit on its disk.

    Args:
        work_dir: the run's folder, which need not exist.
        size: size of a checkpoint in bytes.
    """
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    if not hooks:
        checks.warned('disk', 'there is no CheckpointHook: nothing of the run is kept', 'default_hooks.checkpoint=...')
        return
    epochs = runner.train_loop.max_epochs
    kept = sum(epochs // hook.save_period for hook in hooks if hook.save_period)
    count = kept + 3  # last.pth, best.pth, and the one that is being written
    home = next(folder for folder in (work_dir.absolute(), *work_dir.absolute().parents) if folder.exists())
    free = shutil.disk_usage(home).free
    text = (
        f'{count} checkpoints of {size / 1e6:,.1f} MB need {count * size / 1e9:,.2f} GB of {free / 1e9:,.1f} GB '
        f'free at {home}'
    )
    remedy = 'another --work-dir' + (', or a greater save_period of CheckpointHook' if kept else '')
    if count * size > free:
        checks.failed('disk', text, remedy)
    elif 2 * count * size > free:
        checks.warned('disk', text, remedy)
    else:
        checks.passed('disk', text)
    if not os.access(home, os.W_OK):
        checks.failed('disk', f'{home} cannot be written to', 'another --work-dir')
