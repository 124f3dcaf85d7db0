"""Work on the items of an iterator in other threads, beside the loop that makes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from detkit.utils.processors import processors

Item, Made, Done = TypeVar('Item'), TypeVar('Made'), TypeVar('Done')
_MOST_THREADS = 4
_MOST_WAITING = 32
_BYTES_WAITING = 256_000_000


def in_background(
    items: Iterable[Item],
    make: Callable[[Item], Made],
    finish: Callable[[Item, Made], Done],
    size_of: Callable[[Item], int],
    threads: int | None = None,
) -> Iterator[tuple[Item, Done]]:
    """Yield each item with ``finish(item, make(item))``, in order, while the caller's thread goes on to the next items.

    An error of ``make`` or ``finish`` is raised in its item's place, and ``finish`` is not called for later items. An
    error of ``items``, and closing the iterator, let the items before it be finished first.

    Args:
        items: iterated in the caller's thread.
        make: called in several threads at once.
        finish: called in one other thread, for one item after the other.
        size_of: the bytes that an item takes until it is finished. Of larger ones fewer are under way: they take 256 MB
            together at most where they are more than one, and are 32 at most.
        threads: those of ``make``; by default half of the cores, four at most.
    """
    threads = max(1, min(processors() // 2, _MOST_THREADS)) if threads is None else threads
    waiting: deque[tuple[Item, Future[Done], int]] = deque()
    has_failed = False

    def end(item: Item, made: Future[Made]) -> Done | None:
        nonlocal has_failed
        if has_failed:
            return None  # never taken, since the error is raised before
        try:
            return finish(item, made.result())
        except BaseException:
            has_failed = True
            raise

    def take() -> tuple[Item, Done]:
        item, future, _ = waiting.popleft()
        return item, future.result()

    with ThreadPoolExecutor(threads, 'detkit-make') as makers, ThreadPoolExecutor(1, 'detkit-finish') as finisher:
        for item in items:
            size = size_of(item)
            while waiting and (
                waiting[0][1].done()
                or len(waiting) >= _MOST_WAITING
                or sum(other for _, _, other in waiting) + size > _BYTES_WAITING
            ):
                yield take()
            waiting.append((item, finisher.submit(end, item, makers.submit(make, item)), size))
        while waiting:
            yield take()
