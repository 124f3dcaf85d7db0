"""The check that what a user's own parts make of the data depends on the sample or epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from detkit.engine.random_state import capture_random_state
from detkit.utils.errors import ComponentError

_GENERATORS = {
    'python': "Python's global generator (random)",
    'numpy': "NumPy's global generator (numpy.random)",
    'torch': "PyTorch's global generator",
}
T = TypeVar('T')


def made_repeatably(make: Callable[[], T], names: Sequence[str], what: str, remedy: str) -> T:
    """Return what ``make`` returns, which is called twice, and must return the same.

    Args:
        make: makes a batch, or the order of an epoch.
        names: the user's own parts that take part in it, at least one.
        what: words for what it makes.
        remedy: what its random draws must come from.

    Raises:
        ComponentError: it draws from a global generator, or returns something else at another call.
    """
    before = capture_random_state()
    made = make()
    after = capture_random_state()
    name = ' or '.join(names)
    reason = f'{what} would depend on the number of workers, and a resumed run would not be the same: {remedy}'
    for key, generator in _GENERATORS.items():
        if not same_content(before[key], after[key]):
            raise ComponentError(f'{name} draws from {generator}, so that {reason}', names[0])
    if not same_content(made, make()):
        text = f'{name} gives something else at another call for the same, as by a generator or counter of its own'
        raise ComponentError(f'{text}, so that {reason}', names[0])
    return made


def same_content(first: Any, second: Any) -> bool:
    """Return whether two values hold the same tensors, arrays and plain values; others, such as objects, all count."""
    if isinstance(first, Tensor | np.ndarray):
        if type(first) is not type(second) or first.shape != second.shape:
            return False
        return bool(((first == second) | (first != first) & (second != second)).all())  # NaN is as NaN
    if is_dataclass(first):
        return all(same_content(getattr(first, each.name), getattr(second, each.name)) for each in fields(first))
    if isinstance(first, Mapping):
        return first.keys() == second.keys() and all(same_content(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same_content, first, second))
    return not isinstance(first, str | int | float | bool) or first == second
