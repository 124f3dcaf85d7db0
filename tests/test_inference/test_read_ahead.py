import threading
import time

import pytest

from detkit.inference.read_ahead import read_ahead


def numbers(made: list[int], count: int = 1000, closed: list[bool] | None = None):
    try:
        for number in range(count):
            made.append(number)
            yield number
    finally:
        if closed is not None:
            closed.append(True)


def settled(made: list[int]) -> int:
    """Return how many items have been made when no more are."""
    count = -1
    while count != len(made):
        count = len(made)
        time.sleep(0.05)
    return count


def test_items_come_in_their_order_and_few_are_ahead():
    made: list[int] = []
    items = read_ahead(numbers(made, 50), 3)
    assert made == []  # nothing begins before the first is asked for
    assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert settled(made) <= 5 + 3 + 1
    assert list(items) == list(range(5, 50))


def test_an_error_comes_after_the_items_before_it():
    def failing():
        yield 1
        yield 2
        raise KeyError('gone')

    items = read_ahead(failing(), 8)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError, match='gone'):
        next(items)


def test_late_items_are_dropped_where_they_may_be():
    used = threading.Event()

    def items():
        yield 0
        used.wait(10)
        yield from range(1, 40)

    late = read_ahead(items(), 2, drop_late=True)
    assert next(late) == 0
    used.set()
    time.sleep(0.3)  # the maker does not wait
    assert list(late) == [38, 39]


def test_closing_it_closes_the_items_in_their_thread():
    made: list[int] = []
    closed: list[bool] = []
    before = threading.active_count()
    items = read_ahead(numbers(made, closed=closed), 2)
    next(items)
    items.close()
    assert closed == [True] and threading.active_count() == before and len(made) < 10
