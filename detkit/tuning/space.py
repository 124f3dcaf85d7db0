"""The search space: the keys of a config that a study varies, and their values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from detkit.config.options import parse_value
from detkit.utils.errors import ConfigError, nearest

_RANGE_KEYS = ('low', 'high', 'log', 'step')
_NUMBER = r'[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?'
_RANGE = re.compile(rf'({_NUMBER}):({_NUMBER})(?::(log|{_NUMBER}))?')
_OTHER_RANGE = re.compile(rf'({_NUMBER})\s*(?:\.{{2,}}|-|~|to|:)\s*({_NUMBER})(?::.*)?')
_EXAMPLES = 'a list of values such as [1, 2, 4], or a range such as dict(low=1e-4, high=1e-1, log=True)'


@dataclass(frozen=True)
class Parameter:
    """One key of the search space: ``choices``, or the range from ``low`` to ``high``, both included.

    Attributes:
        key: the key as ``--cfg-options`` takes it: ``'img_size'``, ``'optim_wrapper.optimizer.lr'``,
            ``'+model.head.loss_cls.label_smoothing'``.
        choices: the values; empty for a range.
        low, high: the ends of the range; whole numbers where all values are to be whole.
        log: whether values are drawn evenly on a logarithmic scale.
        step: distance from one value to the next; None for any value (of whole numbers: 1).
    """

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None

    @property
    def extremes(self) -> tuple[Any, ...]:
        """All choices, or the ends of the range."""
        return self.choices or (self.low, self.high)

    def suggest(self, trial: optuna.Trial) -> Any:
        """Return the value of a trial; the same one whenever it is asked again."""
        if self.choices:
            labels = [choice if _is_plain(choice) else repr(choice) for choice in self.choices]
            return self.choices[labels.index(trial.suggest_categorical(self.key, labels))]
        if isinstance(self.low, int):
            return trial.suggest_int(self.key, self.low, self.high, step=int(self.step or 1), log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)


def parse_space(space: Mapping[str, Any]) -> list[Parameter]:
    """Return the parameters of a search space as a config states it.

    Args:
        space: key of the config -> a list of values, or ``dict(low=…, high=…, log=False, step=None)``.

    Raises:
        ConfigError: names the key, and what to write.
    """
    if not isinstance(space, Mapping):
        raise ConfigError(f'search_space is {space!r}, but must be a dict: key of the config -> {_EXAMPLES}')
    return [_parameter(key, values) for key, values in space.items()]


def read_search_options(texts: Iterable[str]) -> dict[str, Any]:
    """Return a search space from the command line: ``['lr=1e-4:1e-1:log', 'size=n,s', 'epochs=10:50:10']``.

    Raises:
        ConfigError: a text is neither ``KEY=LOW:HIGH[:log|:STEP]`` nor ``KEY=VALUE,VALUE``.
    """
    space: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition('=')
        if not equals or not key.strip('+. ') or not value.strip():
            raise ConfigError(f'--search: {text!r} is neither KEY=LOW:HIGH[:log|:STEP] nor KEY=VALUE,VALUE')
        found = _RANGE.fullmatch(value.strip())
        if found is None and (other := _OTHER_RANGE.fullmatch(value.strip())):
            raise ConfigError(
                f'--search: {value.strip()!r} is no range; write {key}={other[1]}:{other[2]}, with :log behind it for '
                'a logarithmic scale, or a number for the distance of its values'
            )
        if found is None:
            choices = parse_value(value)
            space[key.strip()] = choices if isinstance(choices, list) else [choices]
            continue
        low, high, last = (parse_value(part) if part and part != 'log' else part for part in found.groups())
        space[key.strip()] = {'low': low, 'high': high}
        if last:
            space[key.strip()] |= {'log': True} if last == 'log' else {'step': last}
    return space


def _parameter(key: str, values: Any) -> Parameter:
    where = f'search_space[{key!r}]'
    if isinstance(values, Sequence) and not isinstance(values, str):
        if len({repr(value) for value in values}) != len(values) or not values:
            raise ConfigError(f'{where} is {list(values)}, but must be values that differ, at least one')
        return Parameter(key, choices=tuple(values))
    if not isinstance(values, Mapping):
        raise ConfigError(f'{where} is {values!r}, but must be {_EXAMPLES}')
    unknown = next((name for name in values if name not in _RANGE_KEYS), None)
    if unknown is not None:
        raise ConfigError(f'{where} has the key {unknown!r}.{nearest(unknown, _RANGE_KEYS)} Write {_EXAMPLES}')
    low, high, step, log = (values.get(name) for name in ('low', 'high', 'step', 'log'))
    for name, number in (('low', low), ('high', high), ('step', 0 if step is None else step)):
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise ConfigError(f'{where}: {name} is {number!r}, but must be a number. Write {_EXAMPLES}')
    if not isinstance(log, bool | None):
        raise ConfigError(f'{where}: log is {log!r}, but must be True or False')
    if low >= high:
        raise ConfigError(f'{where}: low is {low}, but must be less than high, {high}')
    if log and (low <= 0 or step is not None):
        raise ConfigError(f'{where}: log=True needs low > 0 and no step; found low={low}, step={step}')
    if step is not None and step <= 0:
        raise ConfigError(f'{where}: step is {step}, but must be greater than 0')
    whole = all(isinstance(number, int) for number in (low, high, 1 if step is None else step))
    if not whole:
        low, high = float(low), float(high)
    if step is not None:
        high = low + int((high - low) / step + 1e-9) * step  # the last value that is reached
    return Parameter(key, low=low, high=high, log=bool(log), step=step)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
