"""Learning rates, momenta and accumulation over a whole run, without training."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from detkit.analysis.data.annotations_table import plain_dataset
from detkit.analysis.data.browsing import closing_hooks
from detkit.datasets.loader import empty_epoch
from detkit.datasets.samplers import EpochSampler
from detkit.datasets.transforms.choice import RandomChoice
from detkit.engine.finetune import freeze_modules
from detkit.engine.optim_constructor import build_optim_wrapper, group_names
from detkit.engine.optim_wrapper import AccumulatingOptimWrapper
from detkit.engine.schedule import Schedules, WarmupDecay, build_schedules
from detkit.inference.model import untrained_model
from detkit.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS
from detkit.utils.errors import ConfigError, DataError
from detkit.utils.tables import text_table, write_csv

_POINTS = 1500  # at which a run is looked at, and as many again in its beginning
_MOST_EPOCHS = 2000  # up to so many the first iteration of each is looked at
_DETAIL = 1.25  # the beginning is shown until so many times the end of the warm-up


@dataclass(frozen=True)
class GroupPlan:
    """One group of parameters over a run.

    Attributes:
        name: name of the group.
        parameters: how many numbers it holds.
        weight_decay: its weight decay.
        lr, momentum: ``(P,)`` at the iterations of the plan; the momentum is Adam's first beta, NaN where none is.
    """

    name: str
    parameters: int
    weight_decay: float
    lr: np.ndarray
    momentum: np.ndarray


@dataclass(frozen=True)
class SchedulePlan:
    """A run's hyper-parameters.

    Attributes:
        label: its name.
        optimizer: name of the optimiser's class.
        num_images, batch_size: images of an epoch, and of an iteration over all processes.
        epoch_length, max_epochs: iterations of an epoch, epochs of the run.
        warmup: iterations of the warm-up, 0 without.
        iterations: ``(P,)`` int64, ascending from 0, the sampled iterations.
        accumulate: ``(P,)`` int64, batches of a step.
        groups: groups of parameters.
        close_epoch: first epoch, counted from 1, from which on no images are mixed (mosaic, mixup, copy-paste); None if
            that is never turned off.
        open_epoch: first epoch, counted from 1, in which images are mixed.
    """

    label: str
    optimizer: str
    num_images: int
    batch_size: int
    epoch_length: int
    max_epochs: int
    warmup: int
    iterations: np.ndarray
    accumulate: np.ndarray
    groups: tuple[GroupPlan, ...]
    close_epoch: int | None = None
    open_epoch: int = 1

    @property
    def max_iters(self) -> int:
        return self.epoch_length * self.max_epochs

    @property
    def epochs(self) -> np.ndarray:
        """``(P,)`` float64, the iterations in epochs."""
        return self.iterations / self.epoch_length

    @property
    def steps(self) -> int:
        """Approximate number of the optimiser's steps."""
        lengths = np.diff(self.iterations, append=self.max_iters)
        return round(float((lengths / self.accumulate).sum()))


def plan_schedule(
    config: Config, num_images: int | None = None, world_size: int = 1, label: str | None = None
) -> SchedulePlan:
    """Compute a run's schedule with the components that the run would use.

    The model is built, for its groups of parameters, but never run.

    Args:
        config: loaded.
        num_images: images of an epoch; None to count those of the training data.
        world_size: processes.
        label: its name; the config's if left out.

    Raises:
        ConfigError: the config cannot train.
        DataError: the training data cannot be read, and ``num_images`` was not given.
    """
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        if not config.get(key):
            raise ConfigError(f'{config.filename}: the config has no {key}, so it has no schedule')
    loader = config.train_dataloader
    classes = tuple(config.get('classes') or ())
    sampler = dict(loader.get('sampler') or {})
    if num_images is None:
        dataset = _training_data(loader.dataset)
        classes = tuple(dataset.metainfo['classes'])
    else:
        dataset = range(num_images)
        # Another sampler would look at the images to know how many of them an epoch has.
        sampler = {key: sampler[key] for key in ('shuffle', 'round_up') if key in sampler}
    num_classes = len(classes) or (config.model.get('head') or {}).get('num_classes', 0)
    batch_size = loader.get('batch_size', 1)
    num_images, epoch_length = _measure_epoch(loader, sampler, dataset, batch_size, world_size)
    max_epochs = int(config.train_cfg.max_epochs)
    batch_size *= world_size

    model = untrained_model(config)
    freeze = config.train_cfg.get('freeze')
    if freeze:
        freeze_modules(model, freeze)
    num_iters = epoch_length * max_epochs
    wrapper = build_optim_wrapper(config.optim_wrapper, model, batch_size, num_iters, num_classes, max_epochs)
    schedules = build_schedules(config.get('param_scheduler'), wrapper, epoch_length, max_epochs)
    warmup = _warmup(schedules, epoch_length, epoch_length * max_epochs)
    iterations = _iterations(epoch_length, max_epochs, warmup)
    open_epoch, close_epoch = _mixing_epochs(config, max_epochs)
    accumulate, groups = _follow(schedules, wrapper, iterations)
    return SchedulePlan(
        label or Path(config.filename).stem,
        type(wrapper.optimizer).__name__,
        num_images,
        batch_size,
        epoch_length,
        max_epochs,
        warmup,
        iterations,
        accumulate,
        groups,
        close_epoch=close_epoch,
        open_epoch=open_epoch,
    )


def plan_text(plan: SchedulePlan) -> str:
    """Return a summary of the run and a table of its groups of parameters."""
    epochs = f' ({plan.warmup / plan.epoch_length:.3g} epochs)' if plan.warmup else ''
    final = int(plan.accumulate[-1])
    lines = [
        f'{plan.label}: {plan.num_images:,} images in batches of {plan.batch_size} are {plan.epoch_length:,} '
        f'iterations an epoch; {plan.max_epochs:,} epochs, {plan.max_iters:,} iterations',
        f'{plan.optimizer}, about {plan.steps:,} steps; a step has the gradients of {final} '
        f'batch{"es" if final > 1 else ""}, {final * plan.batch_size} images',
        f'warm-up {plan.warmup:,} iterations{epochs}' if plan.warmup else 'no warm-up',
    ]
    off = [f'before epoch {plan.open_epoch}'] if plan.open_epoch > 1 else []
    off += [f'from epoch {plan.close_epoch} on'] if plan.close_epoch is not None else []
    if off:
        lines.append(f'mosaic and mixup are off {" and ".join(off)}')
    rows = []
    for group in plan.groups:
        highest = int(group.lr.argmax())
        rates = [f'{rate:.4g}' for rate in (group.lr[0], group.lr[highest], group.lr[-1])]
        rates.insert(2, f'{plan.epochs[highest]:.1f}')
        row = [group.name, f'{group.parameters:,}', *rates, _span(group.momentum), f'{group.weight_decay:.4g}']
        rows.append(row)
    header = ['group', 'parameters', 'lr at first', 'highest', 'in epoch', 'at last', 'momentum', 'weight decay']
    return '\n'.join([*lines, text_table(header, rows)])


def write_plans(plans: Sequence[SchedulePlan], path: str | Path) -> None:
    """Write a CSV file with the columns config, iteration, epoch, group, lr, momentum and accumulate."""
    rows = []
    for plan in plans:
        for group in plan.groups:
            columns = (plan.iterations, plan.epochs, group.lr, group.momentum, plan.accumulate)
            for iteration, epoch, lr, momentum, accumulate in zip(*map(np.ndarray.tolist, columns), strict=True):
                momentum = '' if np.isnan(momentum) else f'{momentum:.6g}'
                rows.append([plan.label, iteration, f'{epoch:.4f}', group.name, f'{lr:.6g}', momentum, accumulate])
    write_csv(path, ['config', 'iteration', 'epoch', 'group', 'lr', 'momentum', 'accumulate'], rows)


def detail_end(plan: SchedulePlan) -> int:
    """Return the iteration until which the beginning is enlarged; 0 if it need not be."""
    end = round(plan.warmup * _DETAIL)
    return end if 0 < end < 0.6 * plan.max_iters else 0


def _training_data(cfg: dict) -> Any:
    try:
        return DATASETS.build(plain_dataset(cfg, max_skipped=1.0))
    except DataError as error:
        raise DataError(
            f'{str(error).rstrip(".")}. Without the data, say how many images they are: --num-images N'
        ) from error


def _measure_epoch(loader: dict, sampler: dict, dataset: Sized, batch_size: int, world_size: int) -> tuple[int, int]:
    """Return the images of an epoch, and its iterations."""
    sampler = {
        'type': 'EpochSampler',
        'batch_size': batch_size,
        'drop_last': loader.get('drop_last', False),
        **sampler,
        'dataset': dataset,
    }
    if world_size > 1:
        sampler.update(rank=0, world_size=world_size)
    built = DATA_SAMPLERS.build(sampler)
    num_images, length = built.epoch_size if isinstance(built, EpochSampler) else len(dataset), len(built)
    if not length:
        raise empty_epoch(num_images, batch_size * world_size)
    return num_images, length


def _warmup(schedules: Schedules, epoch_length: int, max_iters: int) -> int:
    """Return the length of the warm-up in iterations."""
    ends = [0]
    for scheduler in schedules.schedulers:
        if isinstance(scheduler, WarmupDecay):
            ends.append(scheduler.warmup_iters)
        elif scheduler.begin == 0:  # one of mmengine's that ends before the run does
            end = scheduler.end * (epoch_length if scheduler.by_epoch else 1)
            ends.append(end if end < max_iters else 0)
    return max(ends)


def _iterations(epoch_length: int, max_epochs: int, warmup: int) -> np.ndarray:
    last = epoch_length * max_epochs - 1
    parts = [np.linspace(0, last, _POINTS), np.linspace(0, min(last, max(_POINTS, _DETAIL * warmup)), _POINTS)]
    if max_epochs <= _MOST_EPOCHS:
        starts = np.arange(max_epochs) * epoch_length
        parts += [starts, starts[1:] - 1]  # both sides of each step between epochs
    return np.unique(np.concatenate(parts).astype(np.int64))


def _follow(
    schedules: Schedules, wrapper: AccumulatingOptimWrapper, iterations: np.ndarray
) -> tuple[np.ndarray, tuple[GroupPlan, ...]]:
    groups = wrapper.optimizer.param_groups
    names = group_names(groups)
    rates, momenta = np.zeros((2, len(groups), len(iterations)))
    accumulate = np.ones(len(iterations), np.int64)
    for index, iteration in enumerate(iterations.tolist()):
        with warnings.catch_warnings():  # mmengine's that no step of the optimiser came before theirs
            warnings.filterwarnings('ignore', message='Detected call of')
            schedules.apply(iteration)
        accumulate[index] = wrapper.current_accumulate
        for number, group in enumerate(groups):
            rates[number, index] = group['lr']
            momenta[number, index] = group.get('momentum', (group.get('betas') or (np.nan,))[0])
    return accumulate, tuple(
        GroupPlan(
            names[number],
            sum(param.numel() for param in group['params']),
            float(group.get('weight_decay', 0)),
            rates[number],
            momenta[number],
        )
        for number, group in enumerate(groups)
    )


def _mixing_epochs(config: Config, max_epochs: int) -> tuple[int, int | None]:
    """Return the first epoch, from 1, in which images are mixed, and the first after these in which none are."""
    mixing = tuple(dict.fromkeys(_mixing(config.train_dataloader.dataset)))
    active: dict[str, tuple[int, int | None]] = dict.fromkeys(mixing, (0, None))
    for hook in closing_hooks(config):
        active |= {name: epochs for name, epochs in hook.active_epochs(mixing, max_epochs).items() if name in active}
    ends = [(start, max_epochs if stop is None else stop) for start, stop in active.values()]
    used = [(start, end) for start, end in ends if start < end]
    if not used:  # none is ever made, whether there are any or not
        return 1, 1 if active else None
    first, last = min(start for start, _ in used), max(end for _, end in used)
    return first + 1, last + 1 if last < max_epochs else None


def _mixing(dataset: dict) -> Iterator[str]:
    """Yield the names of the transforms in use that mix images or objects."""
    for inner in [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets', ()):
        yield from _mixing(inner)
    for step in _steps_in_use(dataset.get('pipeline', ())):
        kind = TRANSFORMS.get(step['type'])
        if getattr(kind, 'mixes', False):
            yield kind.__name__


def _steps_in_use(pipeline: Iterable[Any]) -> Iterator[dict]:
    """Yield the transforms of a pipeline that are ever run, with those inside a ``RandomChoice``."""
    for step in pipeline:
        if not isinstance(step, dict):
            continue
        if TRANSFORMS.get(step['type']) is RandomChoice:
            shares = step.get('prob') or [1] * len(step['transforms'])
            for branch, share in zip(step['transforms'], shares, strict=True):
                yield from _steps_in_use(branch if share > 0 else ())
        elif step.get('prob', 1) > 0:
            yield step


def _span(values: np.ndarray) -> str:
    if np.isnan(values).any():
        return '-'
    first, last = values[0], values[-1]
    return f'{last:.4g}' if first == last else f'{first:.4g} to {last:.4g}'
