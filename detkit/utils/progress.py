"""Progress bars, which only a terminal shows."""

import multiprocessing
import os
import sys
import time
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from detkit.utils.lost_streams import outlived
from detkit.utils.printable import is_terminal

T = TypeVar('T')
# A bar appears for what has taken this long, in seconds, and is not nearly done.
_DELAY = 1.0


class ProgressBar:
    """A progress bar drawn by rich, from the calling thread only. Where the terminal is gone, it is drawn nowhere.

    Args:
        title: what stands before the bar.
        total: the number of steps.
        done: the number of those that are done.
        transient: leave no line when the bar is closed.
        on_stderr: draw on standard error in place of standard output.
    """

    interval = 0.25

    def __init__(self, title: str, total: int, done: int = 0, transient: bool = False, on_stderr: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn('{task.fields[text]}'),
            auto_refresh=False,
            transient=transient,
            console=Console(stderr=True) if on_stderr else None,
        )
        self._stream = sys.stderr if on_stderr else sys.stdout
        with outlived(self._stream):
            self.progress.start()
        self.task = self.progress.add_task(title, total=total, completed=done, text='')
        self._drawn = 0.0

    @property
    def due(self) -> bool:
        """Whether the bar would be redrawn now, a few times a second at most."""
        return time.perf_counter() - self._drawn > self.interval

    def update(self, done: int, text: str, force: bool = False) -> None:
        """Move the bar, and put a text behind it, where it is due or ``force`` says so."""
        if force or self.due:
            self._drawn = time.perf_counter()
            with outlived(self._stream):
                self.progress.update(self.task, completed=done, text=text, refresh=True)

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        with outlived(self._stream):
            self.progress.console.print(text, markup=False, highlight=False)

    def end(self, text: str) -> None:
        """Close the bar when all is done, with a last text."""
        total: Any = self.progress.tasks[0].total
        self.update(int(total), text, force=True)
        self.close()

    def close(self) -> None:
        """Close the bar as it is."""
        with outlived(self._stream):
            self.progress.stop()


def track(items: Collection[T] | Iterator[T], title: str, total: int | None = None) -> Iterator[T]:
    """Yield the items, with a bar on standard error as soon as that takes longer than a second.

    Only the main process shows one, and only in a terminal; it is gone when the items are.

    Args:
        items: what is worked on, one after the other.
        title: what the bar is about, such as ``'hash images'``.
        total: the number of items; None for their ``len``.
    """
    is_main = multiprocessing.parent_process() is None and os.environ.get('RANK', '0') == '0'
    if not (is_main and is_terminal(sys.stderr)):
        yield from items
        return
    total = len(items) if total is None else total
    start, bar = time.perf_counter(), None
    try:
        for done, item in enumerate(items, 1):
            yield item
            passed = time.perf_counter() - start
            if bar is None and passed > _DELAY and done < total:
                bar = ProgressBar(title, total, done, transient=True, on_stderr=True)
            if bar is not None and bar.due:
                bar.update(done, f'ETA {duration_text(passed / done * (total - done))}')
    finally:
        if bar is not None:
            bar.close()


def duration_text(seconds: float) -> str:
    """Format a duration: ``75`` -> ``1:15``, ``3700`` -> ``1:01:40``."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{seconds:02d}' if hours else f'{minutes}:{seconds:02d}'
