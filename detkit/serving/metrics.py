"""Counts and times of a server, in the text format of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from threading import Lock


class Counter:
    """Counts, one for each combination of values of its labels."""

    kind = 'counter'

    def __init__(self, name: str, help_text: str, labels: Sequence[str] = ()) -> None:
        self.name, self.help_text, self.labels = name, help_text, tuple(labels)
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0}
        self._lock = Lock()

    def add(self, *values: str, amount: float = 1) -> None:
        """Add to the count of some values of the labels."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + amount

    def lines(self) -> list[str]:
        with self._lock:
            return [f'{self.name}{_labels(self.labels, key)} {value:g}' for key, value in sorted(self._values.items())]


class Gauge:
    """A value that is asked for when it is shown."""

    kind = 'gauge'

    def __init__(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        self.name, self.help_text, self._read = name, help_text, read

    def lines(self) -> list[str]:
        return [f'{self.name} {self._read():g}']


class Histogram:
    """How many values were below each of some bounds."""

    kind = 'histogram'

    def __init__(self, name: str, help_text: str, bounds: Sequence[float]) -> None:
        self.name, self.help_text, self._bounds = name, help_text, tuple(bounds)
        self._counts, self._sum = [0] * (len(bounds) + 1), 0.0
        self._lock = Lock()

    def observe(self, value: float) -> None:
        """Count a value."""
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += value

    def lines(self) -> list[str]:
        with self._lock:
            counts, total = list(self._counts), self._sum
        found, below = [], 0
        for bound, count in zip((*(f'{bound:g}' for bound in self._bounds), '+Inf'), counts, strict=True):
            below += count
            found.append(f'{self.name}_bucket{{le="{bound}"}} {below}')
        return [*found, f'{self.name}_sum {total:.6f}', f'{self.name}_count {below}']


class Metrics:
    """All that a server counts.

    Args:
        queue: returns the images that are accepted and not answered yet.
        batch_size: most images of a batch.
    """

    def __init__(self, queue: Callable[[], float], batch_size: int) -> None:
        seconds = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
        sizes = [size for size in (1, 2, 4, 8, 16, 32, 64, 128) if size < batch_size] + [batch_size]
        self.requests = Counter('detkit_requests_total', 'Requests by path and status.', ('path', 'status'))
        self.request_seconds = Histogram('detkit_request_seconds', 'Time of a request for predictions.', seconds)
        self.images = Counter('detkit_images_total', 'Images by outcome.', ('outcome',))
        self.batch_size = Histogram('detkit_batch_size', 'Images in a batch.', sizes)
        self.batch_seconds = Histogram('detkit_batch_seconds', 'Time of the network for a batch.', seconds)
        self.errors = Counter('detkit_errors_total', 'Requests that failed by a fault of the server.')
        self._all = [
            self.requests,
            self.request_seconds,
            self.images,
            self.batch_size,
            self.batch_seconds,
            self.errors,
            Gauge('detkit_queue_images', 'Images that are accepted and not answered yet.', queue),
        ]

    def observe_batch(self, size: int, seconds: float) -> None:
        """Note a batch."""
        self.batch_size.observe(size)
        self.batch_seconds.observe(seconds)

    def text(self) -> str:
        """Return all of it, as Prometheus reads it."""
        lines = []
        for metric in self._all:
            lines += [f'# HELP {metric.name} {metric.help_text}', f'# TYPE {metric.name} {metric.kind}']
            lines += metric.lines()
        return '\n'.join(lines) + '\n'


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ''
    escaped = (value.replace('\\', r'\\').replace('"', r'\"').replace('\n', r'\n') for value in values)
    return '{' + ','.join(f'{name}="{value}"' for name, value in zip(names, escaped, strict=True)) + '}'
