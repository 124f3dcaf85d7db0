"""``MaskEncoder``: run-length encodes masks beside the caller, which goes on with the next batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_MOST_WAITING = 64


class MaskEncoder:
    """Runs encodings one after the other in one thread, which starts with the first and ends with ``finish``.

    The thread works while the caller waits for its device or is inside of an operator. At most 64 encodings wait, so
    that masks do not pile up before a slow one.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()

    def encode(self, count: int, job: Callable[[], list[dict]]) -> list[dict]:
        """Return a list of ``count`` compressed RLEs, which are empty until ``finish``.

        Args:
            count: how many ``job`` returns.
            job: encodes masks that nobody changes meanwhile.
        """
        rles: list[dict] = [{} for _ in range(count)]

        def fill() -> None:
            rles[:] = job()

        if count:
            self._thread = self._thread or ThreadPoolExecutor(1, 'encode-masks')
            if len(self._waiting) >= _MOST_WAITING:
                self._waiting.popleft().result()
            self._waiting.append(self._thread.submit(fill))
        return rles

    def finish(self) -> None:
        """Wait for all encodings, and raise what one of them has raised."""
        waiting, thread = self._waiting, self._thread
        self._waiting, self._thread = deque(), None
        if thread is not None:
            thread.shutdown()
        for future in waiting:
            future.result()
