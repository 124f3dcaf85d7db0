"""Few combinations of parts in the default suite, in which all that should meet does; the others are slow."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from itertools import product
from typing import Any

import pytest


def every_pair(*factors: Iterable[str]) -> list:
    """Return all combinations of a value of each factor, slow but for some by which every two values meet.

    Of two factors every value is met by default, as every pair is a combination of its own.

    Args:
        factors: two or three.
    """
    lists = [list(values) for values in factors]
    *larger, smallest = sorted(range(len(lists)), key=lambda factor: -len(lists[factor]))
    if len(lists) == 2:
        sides = [(at,) for at in range(len(lists[larger[0]]))]
    else:
        sides = product(*(range(len(lists[factor])) for factor in larger))
    chosen = set()
    for side in sides:
        places = dict(zip(larger, side, strict=True)) | {smallest: sum(side) % len(lists[smallest])}
        chosen.add(tuple(values[places[factor]] for factor, values in enumerate(lists)))
    return [slow_unless(values in chosen, *values) for values in product(*lists)]


def each_of_both(first: Iterable[str], second: Iterable[str]) -> list:
    """Return all pairs of two values, slow but for those of the first ones and for some by which every value is met."""
    first, second = list(first), list(second)
    chosen = {(first[0], value) for value in second} | {
        (value, second[-1 - at % len(second)]) for at, value in enumerate(first)
    }
    return [slow_unless(pair in chosen, *pair) for pair in product(first, second)]


def cover(cases: Iterable[Any], parts_of: Callable[[Any], Iterable[Hashable]]) -> set[int]:
    """Return the indices of few cases that together have every part that any case has.

    Args:
        cases: those that are preferred first.
        parts_of: returns the parts of a case.
    """
    chosen: dict[int, set] = {}
    counts: Counter = Counter()
    for index, case in enumerate(cases):
        parts = set(parts_of(case))
        if parts - counts.keys():
            chosen[index] = parts
            counts.update(parts)
    for index, parts in reversed([*chosen.items()]):  # of which later ones may have all the parts by now
        if all(counts[part] > 1 for part in parts):
            counts.subtract(parts)
            del chosen[index]
    return set(chosen)


def slow_unless(default: bool, *values: Any, **options: Any):
    """A set of a test's parameters, which only belongs to the default suite where ``default`` says so."""
    return pytest.param(*values, marks=[] if default else [pytest.mark.slow], **options)
