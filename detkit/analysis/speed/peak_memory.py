"""Peak memory of a function, measured in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from detkit.utils.errors import DetkitError


@dataclass(frozen=True)
class PeakMemory:
    """Peak memory in MiB.

    Attributes:
        process: main memory of the whole process, PyTorch included; None if the system does not report it.
        before: main memory of the process before, so that the difference is the model's.
        device: memory of tensors on the accelerator; None on a CPU.
    """

    process: float | None
    before: float | None
    device: float | None

    @property
    def own(self) -> float | None:
        """Memory of the model: on the accelerator if there is one, else main memory."""
        if self.device is not None or self.process is None:
            return self.device
        return self.process - self.before


def peak_memory(device: torch.device, before: float | None) -> PeakMemory:
    """Return the peak memory of this process; ``before`` is ``process_peak`` at its start."""
    on_device = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == 'cuda' else None
    return PeakMemory(process_peak(), before, on_device)


def process_peak() -> float | None:
    """Return the peak main memory of this process in MiB; None if the system does not report it."""
    status = Path('/proc/self/status')
    if status.exists():  # getrusage would count what the parent held when it started this process
        for line in status.read_text().splitlines():
            if line.startswith('VmHWM:'):
                return int(line.split()[1]) / 2**10
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10)


def in_fresh_process(function: Callable, *arguments: Any) -> Any:
    """Call ``function(*arguments)`` in a new Python process; all of them must be picklable.

    Raises:
        DetkitError: the process was killed, as the system does when memory runs out.
    """
    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise DetkitError(
                'the process that measures memory was killed, probably because memory ran out; choose a '
                'smaller --batch-size, or leave memory out with --no-memory'
            ) from error
