"""Runs of several processes on this machine."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from multiprocessing import get_context, reduction, set_start_method
from pathlib import Path
from threading import Timer

# Processes of Python are forked from one that has imported these, which takes seconds.
_context = get_context('forkserver')
_context.set_forkserver_preload(
    ['torch', 'torch._dynamo', 'mmengine.evaluator', 'mmengine.model', 'detkit.engine.runner', 'detkit.zoo.weights']
)


def free_ports(count: int = 1) -> list[str]:
    """Return ports that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(('127.0.0.1', 0))
        return [str(free.getsockname()[1]) for free in sockets]


class Child:
    """A process that runs a script, in a session of its own; on leaving ``with`` it is killed.

    It has not the end of an interpreter: functions of ``atexit`` are not called.

    Args:
        script: Python code.
        arguments: the script's ``sys.argv[1:]``.
        variables: of the environment, beside those of this process.

    Attributes:
        stdin: where text for it can be written.
        stdout: what it prints, errors included.
    """

    def __init__(self, script: str, *arguments: str, variables: Mapping[str, str] | None = None) -> None:
        read, self.stdin = _pipe()
        self.stdout, write = _pipe()
        environment = {**os.environ, **(variables or {})}
        ends = _Passed(read.fileno()), _Passed(write.fileno())
        self._process = _context.Process(target=_run, args=(script, arguments, environment, *ends))
        self._process.start()
        self.pid = self._process.pid
        read.close()
        write.close()

    @property
    def returncode(self) -> int | None:
        """The status; of a signal, its negative number; None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """Send it SIGKILL, and wait for its end."""
        self._process.kill()
        self._process.join()

    def communicate(self, text: str = '', timeout: float = 200) -> str:
        """Write to it, wait for its end, and return what it has printed since."""
        timer = Timer(timeout, self._process.kill)
        timer.start()
        with suppress(BrokenPipeError):  # it has ended, and what it printed says why
            self.stdin.write(text)
            self.stdin.close()
        printed = self.stdout.read()
        self._process.join()
        timer.cancel()
        return printed

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        self.stdin.close()
        self.stdout.close()


def run_ranks(script: str, num_ranks: int, arguments: Callable[[int], Sequence[str]] = lambda rank: ()) -> list[str]:
    """Run a script in the processes of one training, each in one thread, and return what each printed.

    All must succeed.

    Args:
        script: Python code.
        num_ranks: the number of processes.
        arguments: the script's arguments, by rank.
    """
    (port,) = free_ports()
    group = {'WORLD_SIZE': str(num_ranks), 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                Child(script, *arguments(rank), variables={**group, 'RANK': str(rank), 'LOCAL_RANK': str(rank)})
            )
            for rank in range(num_ranks)
        ]
        outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * num_ranks, outputs
    return outputs


class _Passed:
    """A descriptor of this process for a child."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple:
        return _detach, (reduction.DupFd(self.number),)


def _detach(passed: reduction.DupFd) -> int:
    return passed.detach()


def _pipe() -> tuple:
    read, write = os.pipe()
    return open(read, encoding='utf-8'), open(write, 'w', encoding='utf-8')


def _run(script: str, arguments: Sequence[str], environment: Mapping[str, str], stdin: int, stdout: int) -> None:
    """Run a script in this process, which is a new one."""
    import torch

    os.setsid()
    set_start_method(None, force=True)  # as in a process that a command starts
    for descriptor, number in ((stdin, 0), (stdout, 1), (stdout, 2)):
        os.dup2(descriptor, number)
    for descriptor in {stdin, stdout} - {0, 1, 2}:
        os.close(descriptor)
    sys.stdin = open(0, encoding='utf-8', closefd=False)
    sys.stdout, sys.stderr = (open(number, 'w', encoding='utf-8', closefd=False) for number in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ['-c', *arguments]
    sys.path.insert(0, str(Path(__file__).parent))
    torch.set_num_threads(1)
    exec(compile(script, 'script', 'exec'), {'__name__': '__main__'})
