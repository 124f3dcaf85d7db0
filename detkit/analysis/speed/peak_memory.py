"""How much memory something takes, seen in a process of its own."""

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
    """Most memory at any time, in MiB.

    Attributes:
        process: of main memory that the whole process held, PyTorch itself included; None where the system does not
            tell.
        before: what of this it had held before, so that the rest is the model's.
        device: that tensors held on the accelerator; None on a CPU.
    """

    process: float | None
    before: float | None
    device: float | None

    @property
    def own(self) -> float | None:
        """What the model takes: on the accelerator if it is there, else of main memory."""
        if self.device is not None or self.process is None:
            return self.device
        return self.process - self.before


def peak_memory(device: torch.device, before: float | None) -> PeakMemory:
    """Of this process so far; ``before``: what ``process_peak`` gave at its start."""
    on_device = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == 'cuda' else None
    return PeakMemory(process_peak(), before, on_device)


def process_peak() -> float | None:
    """Most main memory that this process has held, in MiB; None where the system does not tell."""
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
    """``function(*arguments)``, called in a new Python; both must be such as pickle takes.

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
