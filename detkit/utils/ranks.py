"""Sums over the processes or parts of a training step, so that they train as one with all their images does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

_in_common_step = False


class PartTotals:
    """Sums over the parts of a step that one process makes one after the other, as if each were a process.

    Args:
        num_parts: the number of parts, of equally many images.

    Attributes:
        complete: whether all parts have been added, so that their sums are known.
    """

    def __init__(self, num_parts: int) -> None:
        self.num_parts = num_parts
        self.complete = False
        self.next = 0
        self._sums: list[Tensor | float] = []

    def add(self, total: Tensor | float) -> Tensor | float:
        """Add a part's ``total``, the next one that it asks for, and return the sum so far."""
        if self.next == len(self._sums):
            self._sums.append(0.0)
        if not self.complete:
            self._sums[self.next] = self._sums[self.next] + (total.detach() if isinstance(total, Tensor) else total)
        self.next += 1
        return self._sums[self.next - 1]


_parts: PartTotals | None = None


@contextmanager
def part_of_step(totals: PartTotals) -> Iterator[None]:
    """Let the functions below combine the parts of a step; the block, within ``common_step``, computes one of them."""
    global _parts
    before, _parts = _parts, totals
    totals.next = 0
    try:
        yield
    finally:
        _parts = before


@contextmanager
def common_step() -> Iterator[None]:
    """Let the functions below combine the processes inside the block, which every process has to enter.

    Elsewhere each process is alone, so that a loss that one of them computes for itself waits for nobody.
    """
    global _in_common_step
    before, _in_common_step = _in_common_step, True
    try:
        yield
    finally:
        _in_common_step = before


def num_ranks() -> int:
    """Return the number of processes or parts that make this training step together; 1 outside ``common_step``."""
    if _parts is not None:
        return _parts.num_parts
    if not (_in_common_step and distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()


def shared_divisor(total: Tensor | float, like: Tensor, at_least: float = 1) -> Tensor | float:
    """Return the divisor of a loss: a sum over all processes, at least ``at_least``, divided by their number.

    A process that divides the sum of its losses by it has a share of which the mean over the processes is the loss of
    one process with all images. The lower bound concerns the whole sum. Every process must call this in the same
    order; nothing waits for the device. In one process it is ``total``, at least ``at_least``.

    Args:
        total: this process's number of positives, sum of scores or the like.
        like: a tensor whose dtype and device the result has where there are several processes.
        at_least: the lower bound, above 0.
    """
    ranks = num_ranks()
    if _parts is not None:
        total = _parts.add(total)
    if ranks == 1:
        return total.clamp(min=at_least) if isinstance(total, Tensor) else max(total, at_least)
    if isinstance(total, Tensor):
        total = total.detach().to(like.dtype, copy=True)
    else:
        total = like.new_full((), total)  # filled on the device, without synchronisation
    if _parts is None:
        distributed.all_reduce(total)
    return total.clamp_(min=at_least) / ranks


def any_rank_has(count: int, like: Tensor) -> Tensor | bool:
    """Return whether ``count`` is above 0 in any process or part, which each must ask for in the same order.

    Args:
        count: this process's number of objects or the like, at least 0.
        like: a tensor on the device that the result has where there are several processes.
    """
    half = 0.5  # between no object and one
    return shared_divisor(count, like, half) * num_ranks() > half


def shared_maximum(count: int) -> int:
    """Return the largest ``count`` of all processes, which each must ask for in the same order.

    Counts are known on the CPU, and are exchanged there, so that nothing waits for the device. In one process, also for
    parts of its step, it is ``count``.
    """
    if _parts is not None or num_ranks() == 1:
        return count
    largest = torch.tensor(count)
    distributed.all_reduce(largest, distributed.ReduceOp.MAX, group=_cpu_group())
    return int(largest)


_cpu_groups: dict[distributed.ProcessGroup, distributed.ProcessGroup] = {}


def _cpu_group() -> distributed.ProcessGroup | None:
    """Return the group of all processes that exchanges tensors on the CPU; None for the default group, if it does."""
    if distributed.get_backend() != 'nccl':
        return None
    default = distributed.group.WORLD
    if default not in _cpu_groups:
        _cpu_groups.clear()  # of a default group that has ended
        _cpu_groups[default] = distributed.new_group(backend='gloo')
    return _cpu_groups[default]


def gather_rows(row: Tensor) -> Tensor:
    """Return the ``(n,)`` tensors of all processes, ``(num_ranks, n)``, in the order of the processes."""
    rows = [torch.empty_like(row) for _ in range(num_ranks())]
    distributed.all_gather(rows, row.contiguous())
    return torch.stack(rows)
