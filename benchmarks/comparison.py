"""The result of a benchmark: samples of detkit and of what it is compared with, as a line and as json."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

# Those in which the floating-point operations of a measurement are counted.
NUMBER_FORMATS = ('float32', 'bfloat16')


@dataclass(frozen=True)
class Comparison:
    """One measurement of a benchmark: detkit and a peer, which took turns in one run.

    Attributes:
        what: the quantity, without its unit.
        unit: of the samples, where less is better: 's', 'ms', 'MB'.
        own: samples of detkit.
        peer: the name of what it is compared with; '' for nothing.
        theirs: samples of the peer; empty where it is absent.
        higher_is_better: the samples are rates.
        work: floating-point operations of one sample in seconds, 0 where they are not counted.
        number_format: of these operations: 'float32' or 'bfloat16'.
    """

    what: str
    unit: str
    own: Sequence[float]
    peer: str = ''
    theirs: Sequence[float] = ()
    higher_is_better: bool = False
    work: float = 0.0
    number_format: str = 'float32'

    @property
    def ratio(self) -> float | None:
        """How many times better the median of detkit is; None without a peer, and where a median is 0."""
        if not self.theirs:
            return None
        own, theirs = statistics.median(self.own), statistics.median(self.theirs)
        if not own or not theirs:
            return None
        return own / theirs if self.higher_is_better else theirs / own

    @property
    def line(self) -> str:
        text = f'{self.what}: detkit {_middle(self.own)} {self.unit}'
        if self.theirs:
            text += f', {self.peer} {_middle(self.theirs)} {self.unit}'
        if self.ratio is not None:
            text += f': {self.ratio:.2f} x'
        return text


def _middle(values: Sequence[float]) -> str:
    """Return the median with the least and the greatest sample."""
    return f'{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})'


def take_turns(sides: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """Return the seconds of each side, which are called one after the other ``rounds`` times, after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + warmup):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(comparisons: Sequence[Comparison], path: Path | None = None) -> None:
    """Print each comparison, and write them as json where there is a path."""
    for comparison in comparisons:
        print(comparison.line, flush=True)
    if path is not None:
        write(comparisons, path)


def write(comparisons: Sequence[Comparison], path: Path) -> None:
    from detkit.utils.tables import write_json  # late: the Python of a peer may lack detkit

    write_json(path, [asdict(comparison) for comparison in comparisons])


def read(path: Path) -> list[Comparison]:
    """Return what ``write`` has written.

    Raises:
        ValueError: it is something else.
    """
    return comparisons_of(json.loads(path.read_text(encoding='utf-8')))


def comparisons_of(entries: object) -> list[Comparison]:
    """Return the comparisons that a json holds.

    Raises:
        ValueError: an entry is no comparison; the text names it, and what is wrong.
    """
    if not isinstance(entries, list):
        raise ValueError('must be a list of measurements')
    found = []
    for number, entry in enumerate(entries):
        try:
            found.append(_comparison_of(entry))
        except ValueError as error:
            raise ValueError(f'measurement {number}: {error}') from error
    return found


def _comparison_of(entry: object) -> Comparison:
    if not isinstance(entry, dict):
        raise ValueError('must be an object')
    names = [field.name for field in fields(Comparison)]
    for name in entry:
        if name not in names:
            raise ValueError(f'there is no key {name!r}; the keys are {", ".join(names)}')
    for name in ('what', 'unit', 'own'):
        if name not in entry:
            raise ValueError(f'it has no {name}')
    found = Comparison(**entry)
    for name in ('what', 'unit', 'peer'):
        if not isinstance(getattr(found, name), str):
            raise ValueError(f'{name} must be a text')
    for name in ('own', 'theirs'):
        if not isinstance(samples := getattr(found, name), (list, tuple)) or not all(map(is_number, samples)):
            raise ValueError(f'{name} must be a list of numbers')
    if not found.own:
        raise ValueError('own has no sample')
    if found.theirs and not found.peer:
        raise ValueError('theirs has samples, but peer has no name')
    if not isinstance(found.higher_is_better, bool):
        raise ValueError('higher_is_better must be true or false')
    if found.number_format not in NUMBER_FORMATS:
        raise ValueError(f'number_format must be one of {", ".join(NUMBER_FORMATS)}')
    if not is_number(found.work) or found.work < 0:
        raise ValueError('work must be a number of operations, 0 where they are not counted')
    if found.work and min(found.own) <= 0:
        raise ValueError('work needs samples above 0, of which it is a rate')
    return found


def is_number(value: object) -> bool:
    """Return whether a value of a json is a number that a float can hold."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
