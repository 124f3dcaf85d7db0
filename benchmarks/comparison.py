"""The result of a benchmark: samples of detkit and of what it is compared with, as a line and as json."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


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


def positive(text: str) -> int:
    """Return a number of an option, at least 1; ``argparse`` prints the sentence otherwise."""
    return _at_least(1, text)


def not_negative(text: str) -> int:
    """Return a number of an option, at least 0."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f'must be a whole number of at least {least}, not {text}')
    return number


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
    path.write_text(json.dumps([asdict(comparison) for comparison in comparisons]), encoding='utf-8')


def read(path: Path) -> list[Comparison]:
    """Return what ``write`` has written."""
    return [Comparison(**entry) for entry in json.loads(path.read_text(encoding='utf-8'))]
