"""``Batcher``: items of many requests, run in batches by one thread, in the order of their arrival."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from detkit.serving.problems import RequestProblem

_log = logging.getLogger(__name__)

RunBatch = Callable[[Hashable, Sequence[Any]], Sequence[Any]]
Observe = Callable[[int, float], None]


@dataclass
class _Job:
    key: Hashable
    item: Any
    weight: float
    answer: asyncio.Future
    arrived: float


class Places:
    """The places in the queue that a request has taken."""

    def __init__(self, batcher: Batcher, count: int) -> None:
        self.count, self.submitted = count, 0
        self._batcher = batcher

    async def submit(self, key: Hashable, item: Any, weight: float = 0.0) -> Any:
        """Return what the batch makes of an item.

        Args:
            key: only items of equal keys share a batch.
            item: the item.
            weight: the share that it takes of what a batch may need; those of a batch add up to 1 at most.
        """
        self.submitted += 1
        return await self._batcher._submit(key, item, weight)

    def give_up(self) -> None:
        """Submit one item less than there are places."""
        self.submitted += 1
        self._batcher._wake.set()


class Batcher:
    """Runs items of many requests in batches.

    The oldest item determines the batch: it is joined by others of its key. While a batch runs, the next one gathers;
    an item waits without need only as long as others have taken a place and are on their way, and no longer than
    ``max_wait``. If a batch fails, its items run one by one, so that none fails for another's sake.

    Args:
        run: makes a batch; it is called with a key and its items in a thread, always the same one.
        batch_size: most items of a batch.
        max_wait: seconds.
        max_queue: most places that may be taken.
        observe: called with the size and the seconds of each batch.

    Attributes:
        taken: the places that are taken.
        busy_since: when the batch began that is running (``time.monotonic()``); None while none runs.
    """

    def __init__(
        self, run: RunBatch, batch_size: int, max_wait: float, max_queue: int, observe: Observe | None = None
    ) -> None:
        self._run, self._batch_size, self._max_wait, self._max_queue = run, batch_size, max_wait, max_queue
        self._observe = observe
        self._jobs: deque[_Job] = deque()
        self._places: set[Places] = set()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, 'detkit-model')
        self._loop: asyncio.Task | None = None
        self.taken = 0
        self.busy_since: float | None = None

    def start(self) -> None:
        """Begin to run batches, in the running event loop."""
        self._loop = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """End; items that still wait are refused."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None
        while self._jobs:
            self._jobs.popleft().answer.cancel()
        self._thread.shutdown(wait=True)

    @property
    def running(self) -> bool:
        """Whether batches are made."""
        return self._loop is not None and not self._loop.done()

    def check_room(self, count: int) -> None:
        """Raise ``RequestProblem`` where there are not so many places, or no batches are made."""
        if not self.running:
            raise RequestProblem(503, 'the server is stopping', retry=True, unread=True)
        if self.taken + count > self._max_queue:
            text = f'{self.taken} images are waiting already; send it again later'
            raise RequestProblem(503, text, retry=True, unread=True)

    @contextmanager
    def places(self, count: int) -> Iterator[Places]:
        """Take places in the queue for so many items, until the block ends.

        Raises:
            RequestProblem: there are not enough, or no batches are made.
        """
        self.check_room(count)
        places = Places(self, count)
        self._places.add(places)
        self.taken += count
        try:
            yield places
        finally:
            self.taken -= count
            self._places.discard(places)
            self._wake.set()

    async def _submit(self, key: Hashable, item: Any, weight: float) -> Any:
        job = _Job(key, item, weight, asyncio.get_running_loop().create_future(), time.monotonic())
        self._jobs.append(job)
        self._wake.set()
        return await job.answer

    async def _work(self) -> None:
        try:
            while True:
                await self._work_once()
        except Exception:
            _log.exception('no batches are made any more; start the server anew')
            raise

    async def _work_once(self) -> None:
        batch = await self._next_batch()
        answers = await self._run_batch(batch)
        for job, answer in zip(batch, answers, strict=True):
            if job.answer.done():  # its request was given up
                continue
            if isinstance(answer, Exception):
                job.answer.set_exception(answer)
            else:
                job.answer.set_result(answer)

    async def _next_batch(self) -> list[_Job]:
        """Wait for a batch, and take its jobs from the queue."""
        while True:
            self._wake.clear()
            while self._jobs and self._jobs[0].answer.done():
                self._jobs.popleft()
            if not self._jobs:
                await self._wake.wait()
                continue
            first = self._jobs[0]
            alike, full = self._fellows(first.key)
            patience = first.arrived + self._max_wait - time.monotonic()
            if full or patience <= 0 or not self._on_their_way():
                chosen = set(map(id, alike))
                self._jobs = deque(job for job in self._jobs if id(job) not in chosen)
                return alike
            try:
                await asyncio.wait_for(self._wake.wait(), patience)
            except asyncio.TimeoutError:
                continue

    def _fellows(self, key: Hashable) -> tuple[list[_Job], bool]:
        """Return the oldest jobs of a key that fit a batch, and whether they fill it."""
        found: list[_Job] = []
        weight = 0.0
        for job in self._jobs:
            if job.key != key or job.answer.done():
                continue
            weight += job.weight
            if found and weight > 1:
                return found, True
            found.append(job)
            if len(found) == self._batch_size:
                return found, True
        return found, False

    def _on_their_way(self) -> bool:
        return any(places.submitted < places.count for places in self._places)

    async def _run_batch(self, jobs: list[_Job]) -> list[Any]:
        """Return an answer or an exception for each job."""
        try:
            return await self._in_thread(jobs)
        except Exception as error:
            if len(jobs) == 1:
                return [error]
            _log.exception('a batch of %d failed; its items run one by one', len(jobs))
        return [(await self._run_batch([job]))[0] for job in jobs]

    async def _in_thread(self, jobs: list[_Job]) -> list[Any]:
        self.busy_since = start = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._run, jobs[0].key, [job.item for job in jobs])
        finally:
            self.busy_since = None
        if len(answers) != len(jobs):
            raise RuntimeError(f'a batch of {len(jobs)} gave {len(answers)} answers')
        if self._observe is not None:
            self._observe(len(jobs), time.monotonic() - start)
        return list(answers)
