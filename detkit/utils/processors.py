"""The processors: their number, which limits how many processes and threads are of use, and their instructions."""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path

# Where Linux shows the groups of processes whose time it limits.
_GROUPS = Path('/sys/fs/cgroup')
_OWN_GROUPS = Path('/proc/self/cgroup')


def processors() -> int:
    """Return the number of processors that this process may use, and whose time a container (``--cpus``) grants it."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return max(1, math.ceil(min(count, *map(_granted, _groups()))))


def limit_threads() -> None:
    """Let libraries start as many threads as a container grants processors, where no ``OMP_NUM_THREADS`` is set.

    They count the processors of the machine: its 64 threads share the time of 2, and wait for each other. It must be
    called before they are imported.
    """
    if hasattr(os, 'sched_getaffinity') and processors() < len(os.sched_getaffinity(0)):
        os.environ.setdefault('OMP_NUM_THREADS', str(processors()))


def _groups() -> list[Path]:
    """Return the folders of the groups that this process is in, and of those above; within a container, the top one."""
    folders = [_GROUPS, _GROUPS / 'cpu']
    try:
        lines = _OWN_GROUPS.read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:  # not Linux
        return folders
    for line in lines:
        _, names, path = line.split(':', 2)
        if not names or 'cpu' in names.split(','):
            folder = folders[1] if names else folders[0]
            for part in Path(path.lstrip('/')).parts:
                folder = folder / part
                folders.append(folder)
    return folders


def _granted(folder: Path) -> float:
    """Return how many processors' time a group has, as its version 2 or 1 states it; infinity for no limit."""
    try:
        if (folder / 'cpu.max').exists():
            quota, period = (folder / 'cpu.max').read_text().split()
        else:
            quota, period = ((folder / f'cpu.cfs_{name}_us').read_text() for name in ('quota', 'period'))
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else math.inf
    except (OSError, ValueError):  # no such files, or 'max'
        return math.inf


@functools.lru_cache(maxsize=1)
def processor_features() -> frozenset[str]:
    """Return what the system says that the processor has, such as ``'avx2'``; empty on systems other than Linux."""
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors='replace').splitlines():
            if line.lower().startswith(('flags', 'features')):
                return frozenset(line.split(':', 1)[1].split())
    return frozenset()
