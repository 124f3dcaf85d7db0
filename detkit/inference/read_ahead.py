"""Items of an iterator, made in another thread a few ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from threading import Condition, Thread
from typing import TypeVar

T = TypeVar('T')
_PATIENCE = 5.0  # seconds that an abandoned thread is waited for


def read_ahead(items: Generator[T, None, None], depth: int, drop_late: bool = False) -> Iterator[T]:
    """Yield ``items`` in their order, which another thread makes; what it raises is raised after the last of them.

    Args:
        items: closed by that thread, also where the iterator returned is closed before its end.
        depth: items that wait at most; then the thread waits.
        drop_late: the thread does not wait, but drops the item that has waited longest.
    """
    waiting: deque[T] = deque()
    changed = Condition()
    ended, abandoned = False, False
    error: BaseException | None = None

    def make() -> None:
        nonlocal ended, error
        try:
            for item in items:
                with changed:
                    if drop_late and len(waiting) >= depth:
                        waiting.popleft()
                    changed.wait_for(lambda: abandoned or len(waiting) < depth)
                    if abandoned:
                        break
                    waiting.append(item)
                    changed.notify_all()
            items.close()
        except BaseException as caught:  # raised where the items are used
            error = caught
        with changed:
            ended = True
            changed.notify_all()

    thread = Thread(target=make, name='detkit-read-ahead', daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: waiting or ended)
                if not waiting:
                    break
                item = waiting.popleft()
                changed.notify_all()
            yield item
        if error is not None:
            raise error
    finally:
        with changed:
            abandoned = True
            changed.notify_all()
        thread.join(_PATIENCE)
