"""Learning rate, momentum and accumulation as pure functions of the iteration."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from detkit.registry import PARAM_SCHEDULERS
from detkit.utils.errors import ConfigError, nearest

DECAYS = ('linear', 'cosine', 'constant')


@PARAM_SCHEDULERS.register_module()
@dataclass(eq=False)
class WarmupDecay:
    """Warm-up, then linear or cosine decay to ``lr * final_factor``.

    It has no state: a resumed run, or one with a larger number of epochs, gets the values of its iteration.
    During warm-up the weights' rate rises from ``warmup_factor`` of it and the biases' moves from ``warmup_bias_lr`` to
    the decayed rate, the momentum rises from ``warmup_momentum``, and the number of accumulated batches from 1.

    Args:
        warmup_epochs: length of the warm-up; 0 for none.
        warmup_min_iters: at least this many iterations, where ``warmup_epochs`` is not 0.
        warmup_max_iters: at most this many iterations, and one less than ``warmup_epochs`` has, so that these end at
            the full rate: 1 epoch and 1000 give ``min(1000, iterations - 1)``. None for no limit.
        epochs_after_warmup: the warm-up of a short run ends so many epochs before the run does, so that with 1 a run of
            one epoch has none; None for no limit.
        warmup_factor: share of the rate at which the weights start.
        warmup_bias_lr: where the biases' rate starts; None for 0.1 with momentum SGD and 0 with any other optimiser;
            'weights' starts them as the weights.
        warmup_power: with t from 0 to 1 in the warm-up, rates rise as t to this power.
        warmup_momentum: where the momentum starts; optimisers that have none are left alone. None: at its value.
        decay: 'linear', 'cosine' or 'constant'.
        final_factor: share of the rate at the end.
        flat_epochs: the decay begins after so many epochs, warm-up included.
        tail_epochs: the decay ends so many epochs before the run does.
        by_epoch: the rate is constant within an epoch (as the recipes have it), or changes each iteration.
    """

    warmup_epochs: float = 3.0
    warmup_min_iters: int = 0
    warmup_max_iters: int | None = None
    epochs_after_warmup: float | None = None
    warmup_factor: float = 0.0
    warmup_bias_lr: float | str | None = None
    warmup_power: float = 1.0
    warmup_momentum: float | None = 0.8
    decay: str = 'linear'
    final_factor: float = 0.01
    flat_epochs: float = 0.0
    tail_epochs: float = 0.0
    by_epoch: bool = True

    def __post_init__(self) -> None:
        if self.decay not in DECAYS:
            raise ConfigError(
                f'param_scheduler.decay is {self.decay!r}; it must be one of {", ".join(DECAYS)}.'
                f'{nearest(self.decay, DECAYS)}'
            )
        if isinstance(self.warmup_bias_lr, str) and self.warmup_bias_lr != 'weights':
            raise ConfigError(
                f"param_scheduler.warmup_bias_lr is {self.warmup_bias_lr!r}; it must be a number, None or 'weights'."
            )
        if self.warmup_max_iters is not None and self.warmup_max_iters < self.warmup_min_iters:
            raise ConfigError(
                f'param_scheduler: warmup_max_iters {self.warmup_max_iters} is less than warmup_min_iters '
                f'{self.warmup_min_iters}'
                '; raise the former, or lower the latter'
            )
        if self.warmup_power <= 0:
            raise ConfigError(
                f'param_scheduler.warmup_power is {self.warmup_power}; it must be above 0 (1 is a straight line).'
            )
        for name in ('flat_epochs', 'tail_epochs', 'epochs_after_warmup'):
            epochs = getattr(self, name)
            if epochs is not None and epochs < 0:
                raise ConfigError(f'param_scheduler.{name} is {epochs}; it must be at least 0.')
        self.optim_wrapper: Any = None
        self.epoch_length = self.max_epochs = 1

    def start(self, optim_wrapper: Any, epoch_length: int, max_epochs: int) -> None:
        """Set the optimiser and the length of the run.

        Args:
            optim_wrapper: holds ``optimizer``, ``accumulate`` and ``current_accumulate``.
            epoch_length: iterations of an epoch.
            max_epochs: epochs of the whole run.
        """
        self.optim_wrapper = optim_wrapper
        self.epoch_length = epoch_length
        self.max_epochs = max_epochs
        self._final_momenta = [group.get('momentum') for group in optim_wrapper.optimizer.param_groups]

    @property
    def warmup_iters(self) -> int:
        """Length of the warm-up in iterations."""
        if self.warmup_epochs <= 0:
            return 0
        length = max(round(self.warmup_epochs * self.epoch_length), self.warmup_min_iters)
        if self.epochs_after_warmup is not None:
            length = min(length, round(max(self.max_epochs - self.epochs_after_warmup, 0) * self.epoch_length))
        return length if self.warmup_max_iters is None else max(min(self.warmup_max_iters, length - 1), 0)

    def factor(self, iteration: int) -> float:
        """Return the share of the initial rate at ``iteration``, without the warm-up."""
        epoch = iteration // self.epoch_length if self.by_epoch else iteration / self.epoch_length
        length = self.max_epochs - self.flat_epochs - self.tail_epochs
        since = epoch - self.flat_epochs
        progress = 0.0 if since <= 0 else 1.0 if since >= length else since / length
        if self.decay == 'linear':
            return 1 - progress * (1 - self.final_factor)
        if self.decay == 'cosine':
            return self.final_factor + (1 - self.final_factor) * (1 + math.cos(math.pi * progress)) / 2
        return 1.0

    def apply(self, iteration: int) -> None:
        """Set every value for the step of ``iteration`` (counted from 0)."""
        warmup = self.warmup_iters
        factor = self.factor(iteration)
        for group, momentum in zip(self.optim_wrapper.optimizer.param_groups, self._final_momenta, strict=True):
            lr = group['initial_lr'] * factor
            if iteration <= warmup and warmup:
                start = lr * self.warmup_factor
                if group.get('name', '').endswith('bias') and self.warmup_bias_lr != 'weights':
                    start = self.warmup_bias_lr if self.warmup_bias_lr is not None else 0.1 if momentum else 0.0
                share = (iteration / warmup) ** (self.warmup_power - 1)
                lr = float(np.interp(iteration * share, (0, warmup), (start, lr)))
            group['lr'] = lr
            if momentum and self.warmup_momentum is not None:
                group['momentum'] = float(np.interp(iteration, (0, warmup), (self.warmup_momentum, momentum)))
        final = self.optim_wrapper.accumulate
        self.optim_wrapper.current_accumulate = (
            max(1, round(float(np.interp(iteration, (0, warmup), (1, final))))) if iteration < warmup else final
        )


class Schedules:
    """All parameter schedulers of a run, detkit's and mmengine's, as functions of the iteration.

    mmengine's schedulers only step forward, each from the values that the others left; they are stepped together up to
    an iteration, so that a resumed run needs none of their state.

    Args:
        schedulers: started ``WarmupDecay``s, and mmengine schedulers as built.
        epoch_length: iterations of an epoch.
    """

    def __init__(self, schedulers: list[Any], epoch_length: int) -> None:
        self.schedulers = schedulers
        self.epoch_length = epoch_length
        self._own = [scheduler for scheduler in schedulers if isinstance(scheduler, WarmupDecay)]
        foreign = [scheduler for scheduler in schedulers if not isinstance(scheduler, WarmupDecay)]
        self._of_iterations = [scheduler for scheduler in foreign if not scheduler.by_epoch]
        self._of_epochs = [scheduler for scheduler in foreign if scheduler.by_epoch]
        self._iteration = 0

    def apply(self, iteration: int) -> None:
        """Set every hyper-parameter for the step of ``iteration`` (counted from 0)."""
        while self._iteration < iteration:
            self._iteration += 1
            ends_epoch = self._iteration % self.epoch_length == 0
            for scheduler in (*self._of_iterations, *(self._of_epochs if ends_epoch else ())):  # mmengine's order
                scheduler.step()
        for scheduler in self._own:
            scheduler.apply(iteration)


def build_schedules(cfg: Any, optim_wrapper: Any, epoch_length: int, max_epochs: int) -> Schedules:
    """Build a config's ``param_scheduler``.

    Args:
        cfg: a scheduler's config, a list of such, or None; schedulers may be built already.
        optim_wrapper: holds the optimiser.
        epoch_length: iterations of an epoch.
        max_epochs: epochs of the whole run, which is also the end of mmengine's schedulers that state none.
    """
    built = []
    for scheduler in [] if cfg is None else cfg if isinstance(cfg, list | tuple) else [cfg]:
        if isinstance(scheduler, dict):
            defaults = {}
            kind = PARAM_SCHEDULERS.get(scheduler['type'])
            if not issubclass(kind, WarmupDecay):
                end = max_epochs if scheduler.get('by_epoch', True) else max_epochs * epoch_length
                scheduler = {'end': end, **scheduler}
                defaults = dict(optimizer=optim_wrapper.optimizer)
                if scheduler.pop('convert_to_iter_based', False):
                    scheduler['type'] = kind.build_iter_from_epoch
                    defaults['epoch_length'] = epoch_length
            scheduler = PARAM_SCHEDULERS.build(scheduler, default_args=defaults)
            _check_total_steps(scheduler, epoch_length, max_epochs)
        if isinstance(scheduler, WarmupDecay):
            scheduler.start(optim_wrapper, epoch_length, max_epochs)
        built.append(scheduler)
    _check_together(built)
    return Schedules(built, epoch_length)


def _check_together(schedulers: list[Any]) -> None:
    """Refuse schedules beside a ``WarmupDecay``, which sets its values anew at each iteration, of the same values."""
    own = [scheduler for scheduler in schedulers if isinstance(scheduler, WarmupDecay)]
    if not own:
        return
    taken = {'lr'} if own[0].warmup_momentum is None else {'lr', 'momentum'}
    for scheduler in (*own[1:], *(scheduler for scheduler in schedulers if scheduler not in own)):
        name = 'lr' if isinstance(scheduler, WarmupDecay) else getattr(scheduler, 'param_name', None)
        if name in taken:
            remedy = ', or its warmup_momentum=None' if name == 'momentum' else ''
            raise ConfigError(
                f'param_scheduler: WarmupDecay sets {name} at each iteration, so that {type(scheduler).__name__} '
                f"beside it would have no effect; leave one of them out (of mmengine's, LinearLR is a warm-up){remedy}"
            )


def _check_total_steps(scheduler: Any, epoch_length: int, max_epochs: int) -> None:
    """Refuse a schedule of mmengine's that states fewer steps (``OneCycleLR``) than the run makes of it."""
    total = getattr(scheduler, 'total_steps', None)
    if total is None:
        return
    length, unit = (max_epochs, 'epochs') if scheduler.by_epoch else (max_epochs * epoch_length, 'iterations')
    steps = min(scheduler.end, length) - scheduler.begin
    if total < steps:
        raise ConfigError(
            f'param_scheduler: total_steps of {type(scheduler).__name__} is {total}, but the run has {steps} {unit} '
            f'for it; leave total_steps out, which takes them all'
        )
