"""Memory that the C library keeps of what was freed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TypeVar

T = TypeVar('T')


def give_back_memory(items: Iterable[T], interval: int = 32) -> Iterator[T]:
    """Yield items, and give freed memory back to the system after each ``interval`` of them, where that is possible.

    Before 2.38, glibc does not reuse all memory of freed tensors (aligned blocks of megabytes) for the next ones, so
    that a loop that keeps a small result of each iteration may grow by megabytes an iteration.
    """
    trim = _trim_function()
    for number, item in enumerate(items, 1):
        yield item
        if trim is not None and number % interval == 0:
            trim(0)


@cache
def _trim_function() -> Callable[[int], int] | None:
    """Return ``malloc_trim`` of glibc; None with another C library."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # TypeError: Windows, which has no library of the process itself
        return None
