"""The processors: their number, which limits how many processes and threads are of use, and their instructions."""

from __future__ import annotations

import functools
import os
from pathlib import Path


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


@functools.lru_cache(maxsize=1)
def processor_features() -> frozenset[str]:
    """Return what the system says that the processor has, such as ``'avx2'``; empty on systems other than Linux."""
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors='replace').splitlines():
            if line.lower().startswith(('flags', 'features')):
                return frozenset(line.split(':', 1)[1].split())
    return frozenset()
