"""The allocator of the C library: when memory that was freed is kept, and when it goes back to the system.

A CPU's run keeps it, as its next step needs blocks of the same sizes. What is freed in small parts between results that
stay is given back once in a while.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from detkit.utils.errors import ConfigError

T = TypeVar('T')

# Environment variable: 0 leaves the allocator as it is; 1 is as without it.
KEEP_VARIABLE = 'DETKIT_KEEP_MEMORY'
# The settings of glibc's malloc.h for ``mallopt``.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@functools.lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let the process keep freed blocks of any size, and use them again; return whether it does.

    By itself glibc takes a block above some megabytes from the system and gives it back when it is freed, and the
    system clears each of its pages anew. A network on a CPU frees and takes the same blocks in each step;
    ``benchmarks/freed_memory.py`` measures the time that clearing takes. The peak grows by some per cent, and what was
    used once stays with the process until it ends, or until ``give_back_memory``.

    Nothing is done for another allocator or C library, where ``MALLOC_`` variables or ``GLIBC_TUNABLES`` give settings
    of malloc, and where the environment variable ``DETKIT_KEEP_MEMORY`` is 0.

    Raises:
        ConfigError: that variable is neither 0 nor 1.
    """
    wanted = os.environ.get(KEEP_VARIABLE) or '1'
    if wanted not in ('0', '1'):
        raise ConfigError(f'the environment variable {KEEP_VARIABLE} is {wanted[:40]!r}, but should be 0 or 1')
    given = any(name.startswith('MALLOC_') for name in os.environ) or 'malloc' in os.environ.get('GLIBC_TUNABLES', '')
    if given or wanted == '0' or not _has_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))


def give_back_memory(items: Iterable[T], interval: int = 32) -> Iterator[T]:
    """Yield items, and give freed memory back to the system after each ``interval`` of them, where that is possible.

    Before 2.38, glibc does not reuse all memory of freed tensors (aligned blocks of megabytes) for the next ones, so
    that a loop that keeps a small result of each iteration may grow by megabytes an iteration.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % interval == 0:
            trim_memory()


def trim_memory() -> None:
    """Give freed memory back to the system, where that is possible.

    A process that is about to be forked should: both processes would share the blocks that it keeps, and each page of
    them would be copied when it is next written to, which takes longer than clearing a new one.
    """
    if _has_glibc():
        ctypes.CDLL(None).malloc_trim(0)


class GrowthLimit:
    """Gives freed memory back to the system where the process has grown, so that it does not keep growing.

    A run whose batches differ in shape leaves blocks that fit no later one: it may keep twice what it uses.
    Batches of one shape leave none, and the process keeps all of its memory.

    Args:
        share: growth since the memory was first looked at, or since the first look after it was given back.
    """

    def __init__(self, share: float = 0.3) -> None:
        self.share = share
        self._level: int | None = None

    def check(self) -> bool:
        """Look at the memory of the process; return whether what was freed is given back."""
        size = resident_bytes()
        if size is None:
            return False
        if self._level is None:
            self._level = size
        if size <= self._level * (1 + self.share):
            return False
        trim_memory()
        self._level = None  # the next look finds what the run needs
        return True


def resident_bytes() -> int | None:
    """Return the memory of this process that is in use or kept; None on a system that does not say."""
    try:
        return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except (AttributeError, OSError, ValueError):
        return None


@functools.lru_cache(maxsize=1)
def _has_glibc() -> bool:
    try:
        return os.confstr('CS_GNU_LIBC_VERSION') is not None
    except (AttributeError, ValueError, OSError):  # no such function, or no such name, on this system
        return False
