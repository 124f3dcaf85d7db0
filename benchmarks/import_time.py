"""Seconds that commands and imports of detkit take to start, against torch's import in the same run.

    python benchmarks/import_time.py --rounds 9

Each is a process of its own; the processes take turns. The least time of a process is what the machine's other load
disturbs least; the difference from torch's and the ratio to it are those of the least times.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from comparison import Comparison, write

_COMMAND = 'from detkit.cli.main import main; main({!r})'
# The timed processes by name: the code that each runs, and whether that imports torch.
CASES = {
    'python': ('', False),
    'detkit --help': (_COMMAND.format(['--help']), False),
    'detkit configs': (_COMMAND.format(['configs']), False),
    'detkit zoo list': (_COMMAND.format(['zoo', 'list']), False),
    'import torch': ('import torch', True),
    'detkit.Detector': ('import detkit; detkit.Detector', True),
    'detkit.config': ('from detkit.config import load_config', True),
    'detkit.inference': ('from detkit.inference import Predictor', True),
    'detkit.engine': ('from detkit.engine import train_from_config', True),
}


def seconds_of(code: str) -> float:
    """Return the wall time of a process that runs ``code``."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, '-c', code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f'{code!r} failed:\n{done.stderr}')
    return seconds


def measure(names: list[str], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each case, by its name, in ``rounds`` rounds after one that warms the disk's cache."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name, seconds in found.items():
            measured = seconds_of(CASES[name][0])
            if number:
                seconds.append(measured)
    return found


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=5, help='processes of each case (default: 5)')
    parser.add_argument('--cases', nargs='+', choices=list(CASES), default=list(CASES), help='default: all')
    parser.add_argument('--json', type=Path, help='also write the results there')
    args = parser.parse_args(argv)
    names = list(dict.fromkeys(['import torch', *args.cases]))
    found = measure(names, args.rounds)
    torch = min(found['import torch'])
    print(f'{"":18} {"least":>7} {"median":>7}   seconds, {args.rounds} processes each')
    for name in sorted(names, key=list(CASES).index):
        seconds = found[name]
        above = (
            f'   {min(seconds) - torch:+.2f} s over torch, {min(seconds) / torch:.2f} x'
            if CASES[name][1] and name != 'import torch'
            else ''
        )
        print(f'{name:18} {min(seconds):7.2f} {statistics.median(seconds):7.2f}{above}')
    comparisons = [
        Comparison(f'start of {name}', 's', found[name], 'import torch', found['import torch']) for name in names
    ]
    if args.json is not None:
        write(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    main()
