"""The batcher: which items share a batch, in which order, and what becomes of them when something goes wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from detkit.serving.batcher import Batcher
from detkit.serving.problems import RequestProblem


class Runner:
    """Runs batches, noting each; the first one may be held until ``gate`` opens."""

    def __init__(self, held: bool = False) -> None:
        self.batches: list[tuple[Any, list]] = []
        self.gate = threading.Event()
        self.threads: set[int] = set()
        if not held:
            self.gate.set()

    def __call__(self, key: Any, items: Sequence[Any]) -> list:
        self.batches.append((key, list(items)))
        self.threads.add(threading.get_ident())
        assert self.gate.wait(10)
        if 'poison' in items:
            raise ValueError('a poisoned item')
        return [f'{key}:{item}' for item in items]


def with_batcher(
    runner: Runner, work: Callable, batch_size: int = 4, max_wait: float = 0.0, max_queue: int = 100
) -> Any:
    """Return what ``work(batcher)`` gives while a batcher runs."""

    async def run() -> Any:
        batcher = Batcher(runner, batch_size, max_wait, max_queue)
        batcher.start()
        try:
            return await asyncio.wait_for(work(batcher), 20)
        finally:
            runner.gate.set()
            await batcher.stop()

    return asyncio.run(run())


async def submit(batcher: Batcher, key: Any, item: Any) -> Any:
    with batcher.places(1) as places:
        return await places.submit(key, item)


async def submit_behind(batcher: Batcher, runner: Runner, pairs: Sequence[tuple[Any, Any]]) -> list:
    """Submit items while a first batch runs, so that they all wait together."""
    first = asyncio.ensure_future(submit(batcher, 'first', 0))
    while not runner.batches:
        await asyncio.sleep(0.001)
    others = [asyncio.ensure_future(submit(batcher, *pair)) for pair in pairs]
    while batcher.taken < 1 + len(pairs):
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    runner.gate.set()
    return (await asyncio.gather(first, *others, return_exceptions=True))[1:]


def test_items_that_wait_share_batches_in_the_order_of_arrival():
    runner = Runner(held=True)
    pairs = [('a', 1), ('b', 2), ('a', 3), ('a', 4), ('b', 5), ('a', 6), ('a', 7)]
    answers = with_batcher(runner, lambda batcher: submit_behind(batcher, runner, pairs))
    assert answers == [f'{key}:{item}' for key, item in pairs]
    # The oldest item determines the batch; its fifth fellow waits for the next one, behind the b's.
    assert runner.batches[1:] == [('a', [1, 3, 4, 6]), ('b', [2, 5]), ('a', [7])]
    assert len(runner.threads) == 1


def test_heavy_items_share_a_batch_only_as_far_as_they_fit():
    async def work(batcher: Batcher) -> None:
        with batcher.places(6) as places:
            weights = (0.5, 0.5, 0.1, 3.0, 0.2, 0.2)
            await asyncio.gather(*(places.submit('a', weight, weight) for weight in weights))

    runner = Runner()
    with_batcher(runner, work, batch_size=6, max_wait=3600)
    assert [items for _, items in runner.batches] == [[0.5, 0.5], [0.1], [3.0], [0.2, 0.2]]


def test_a_rare_key_is_not_passed_over():
    runner = Runner(held=True)
    pairs = [('a', 0), ('rare', 1), *(('a', number) for number in range(2, 20))]
    with_batcher(runner, lambda batcher: submit_behind(batcher, runner, pairs))
    assert [key for key, _ in runner.batches][1:3] == ['a', 'rare']


def test_one_that_fails_costs_the_others_nothing():
    runner = Runner(held=True)
    pairs = [('a', 1), ('a', 'poison'), ('a', 3)]
    answers = with_batcher(runner, lambda batcher: submit_behind(batcher, runner, pairs))
    assert answers[0] == 'a:1' and answers[2] == 'a:3'
    assert isinstance(answers[1], ValueError)
    assert [items for _, items in runner.batches[1:]] == [[1, 'poison', 3], [1], ['poison'], [3]]


def test_one_that_is_given_up_is_not_run():
    runner = Runner(held=True)

    async def work(batcher: Batcher) -> None:
        first = asyncio.ensure_future(submit(batcher, 'a', 0))
        while not runner.batches:
            await asyncio.sleep(0.001)
        second, third = (asyncio.ensure_future(submit(batcher, 'a', number)) for number in (1, 2))
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.sleep(0.01)
        assert batcher.taken == 2
        runner.gate.set()
        assert await asyncio.gather(first, third) == ['a:0', 'a:2']
        assert batcher.taken == 0

    with_batcher(runner, work)
    assert runner.batches == [('a', [0]), ('a', [2])]


def test_a_full_queue_refuses_and_frees_itself():
    runner = Runner(held=True)

    async def work(batcher: Batcher) -> None:
        waiting = [asyncio.ensure_future(submit(batcher, 'a', number)) for number in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(RequestProblem) as caught:
            await submit(batcher, 'a', 9)
        assert caught.value.status == 503 and caught.value.retry
        runner.gate.set()
        await asyncio.gather(*waiting)
        assert await submit(batcher, 'a', 9) == 'a:9'

    with_batcher(runner, work, max_queue=3)


def test_one_that_is_alone_does_not_wait_and_one_with_company_does():
    async def work(batcher: Batcher) -> None:
        # With max_wait of an hour, these end only because nobody is on the way, and because the batch is full.
        assert await submit(batcher, 'a', 1) == 'a:1'
        with batcher.places(1) as late:
            early = [asyncio.ensure_future(submit(batcher, 'a', number)) for number in (2, 3)]
            await asyncio.sleep(0.05)
            assert not any(each.done() for each in early)
            assert await late.submit('a', 4) == 'a:4'
            await asyncio.gather(*early)
        with batcher.places(1) as never:
            early = asyncio.ensure_future(submit(batcher, 'a', 5))
            await asyncio.sleep(0.05)
            assert not early.done()
            never.give_up()
            assert await early == 'a:5'

    runner = Runner()
    with_batcher(runner, work, max_wait=3600)
    assert [items for _, items in runner.batches] == [[1], [2, 3, 4], [5]]


def test_the_wait_for_company_ends():
    async def work(batcher: Batcher) -> None:
        with batcher.places(1):
            assert await submit(batcher, 'a', 1) == 'a:1'

    with_batcher(Runner(), work, max_wait=0.02)


def test_a_batcher_that_fails_says_so(caplog):
    async def run() -> None:
        batcher = Batcher(lambda key, items: items, 4, 0.0, 10)
        batcher._next_batch = lambda: asyncio.sleep(0, 'no batch')
        batcher.start()
        while batcher.running:
            await asyncio.sleep(0.001)
        with pytest.raises(RequestProblem):
            batcher.check_room(1)
        await batcher.stop()

    asyncio.run(run())
    assert 'no batches are made any more' in caplog.text


def test_a_batch_with_another_number_of_answers_is_a_fault():
    async def work(batcher: Batcher) -> None:
        with pytest.raises(RuntimeError, match='a batch of 1 gave 0 answers'):
            await submit(batcher, 'a', 1)

    async def run() -> None:
        batcher = Batcher(lambda key, items: [], 4, 0.0, 10)
        batcher.start()
        await work(batcher)
        await batcher.stop()
        with pytest.raises(RequestProblem, match='stopping'):
            batcher.check_room(1)

    asyncio.run(run())
