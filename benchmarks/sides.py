"""The two sides of a comparison, each in a process of its own, that work when they are told to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

MARK = 'answer: '


def answer(work: Callable[[], Sequence[float]]) -> None:
    """Do ``work`` for each line read, and print what it returns, in a child process."""
    print('ready', flush=True)
    for _ in sys.stdin:
        print(MARK + json.dumps(list(work())), flush=True)


@contextmanager
def started(script: str, name: str, argv: Sequence[str]) -> Iterator[Callable[[], list[float]]]:
    """Start a side of a script in a process; what is yielded lets it work once, and returns what its work returned."""
    command = [sys.executable, script, *argv, '--side', name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        while (line := process.stdout.readline()) and line.strip() != 'ready':
            print(line, end='')
        if not line:
            sys.exit(f'{name} did not start; its message is above')

        def work() -> list[float]:
            process.stdin.write('work\n')
            process.stdin.flush()
            for line in process.stdout:  # also what the side logs
                if line.startswith(MARK):
                    return json.loads(line.removeprefix(MARK))
            sys.exit(f'{name} stopped; its message is above')

        yield work
    finally:
        process.kill()
        process.wait()
