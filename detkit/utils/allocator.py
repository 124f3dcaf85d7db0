"""The allocator of the C library: a CPU's run keeps the memory that it frees, for its next step."""

from __future__ import annotations

import ctypes
import functools
import os

# Environment variable: 0 leaves the allocator as it is.
KEEP_VARIABLE = 'DETKIT_KEEP_MEMORY'
# The settings of glibc's malloc.h for ``mallopt``.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@functools.lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let the process keep freed blocks of any size, and use them again; return whether it does.

    By itself glibc takes a block above some megabytes from the system and gives it back when it is freed, and the
    system clears each of its pages anew. A network on a CPU frees and takes the same blocks in each step, so that a
    tenth of a step in float32, and a fifth of the prediction of a batch of eight, went into clearing pages
    (``benchmarks/freed_memory.py``). The peak is the same; but what was used once stays with the process until it ends.

    Nothing is done for another allocator or C library, where ``MALLOC_`` variables or ``GLIBC_TUNABLES`` give settings
    of malloc, and where the environment variable ``DETKIT_KEEP_MEMORY`` is 0.
    """
    given = any(name.startswith('MALLOC_') for name in os.environ) or 'malloc' in os.environ.get('GLIBC_TUNABLES', '')
    if given or os.environ.get(KEEP_VARIABLE) == '0' or not _has_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))


def _has_glibc() -> bool:
    try:
        return os.confstr('CS_GNU_LIBC_VERSION') is not None
    except (AttributeError, ValueError, OSError):  # no such function, or no such name, on this system
        return False
