"""Runs of several processes on this machine."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack


def free_ports(count: int = 1) -> list[str]:
    """Return ports that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(('127.0.0.1', 0))
        return [str(free.getsockname()[1]) for free in sockets]


def run_ranks(arguments: Callable[[int], Sequence[str]], num_ranks: int) -> list[str]:
    """Run Python in the processes of one training, each in one thread, and return what each printed; all must succeed.

    Args:
        arguments: the arguments of the interpreter, by rank.
        num_ranks: the number of processes.
    """
    (port,) = free_ports()
    group = {'WORLD_SIZE': str(num_ranks), 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port, 'OMP_NUM_THREADS': '1'}
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments(rank)],
            env={**os.environ, **group, 'RANK': str(rank), 'LOCAL_RANK': str(rank)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(num_ranks)
    ]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * num_ranks, outputs
    return outputs
