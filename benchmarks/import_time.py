"""Seconds that commands and imports of detkit take to start, against torch's import in the same run.

    python benchmarks/import_time.py --rounds 9
    python benchmarks/import_time.py --peer other/venv/bin/python

Each is a process of its own; the processes take turns. The least time of a process is what the machine's other load
disturbs least; the difference from torch's and the ratio to it are those of the least times. ``--peer`` times
ultralytics too, and torch, in the Python of another environment.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from arguments import output_file, positive, program, run
from comparison import Comparison, write

_COMMAND = 'from detkit.cli.main import main; main({!r})'
_TORCH = 'import torch'
# The timed processes by name: the code that each runs, and whether that imports torch.
CASES = {
    'python': ('', False),
    'detkit --help': (_COMMAND.format(['--help']), False),
    'detkit configs': (_COMMAND.format(['configs']), False),
    'detkit zoo list': (_COMMAND.format(['zoo', 'list']), False),
    _TORCH: (_TORCH, True),
    'detkit.Detector': ('import detkit; detkit.Detector', False),
    'detkit.config': ('from detkit.config import load_config', True),
    'detkit.inference': ('from detkit.inference import Predictor', True),
    'first model': ('import detkit; detkit.Detector({model!r}).model', True),
    'first prediction': (
        'import detkit, numpy; detkit.Detector({model!r})(numpy.zeros((64, 64, 3), numpy.uint8), img_size=64)',
        True,
    ),
    'detkit.engine': ('from detkit.engine import train_from_config', True),
}
PEER_CASES = {_TORCH: (_TORCH, True), 'import ultralytics': ('from ultralytics import YOLO', True)}


def seconds_of(code: str, python: str = sys.executable) -> float:
    """Return the wall time of a process that runs ``code``."""
    start = time.perf_counter()
    done = subprocess.run([python, '-c', code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f'{code!r} failed in {python}:\n{done.stderr}')
    return seconds


def write_model(folder: str) -> str:
    """Write a checkpoint of YOLOv8n with random weights, as a run's is, and return its path."""
    from detkit.config import literal_text, load_config
    from detkit.engine.checkpoint import save_checkpoint
    from detkit.registry import DETECTORS

    config = load_config('yolov8/det_n_coco8', {'+model.head.num_classes': 80}, need_classes=False)
    meta = {
        'format': 'detkit',
        'format_version': 1,
        'classes': [str(number) for number in range(80)],
        'task': 'det',
        'config': literal_text(config),
    }
    path = f'{folder}/model.pth'
    save_checkpoint({'meta': meta, 'state_dict': DETECTORS.build(config['model']).state_dict()}, path)
    return path


def measure(processes: dict[tuple[str, str], str], rounds: int) -> dict[tuple[str, str], list[float]]:
    """Return the seconds of each process in ``rounds`` rounds after one that warms the disk's cache.

    Args:
        processes: the code of each, by its Python and its name.
        rounds: how often each is run.
    """
    found: dict[tuple[str, str], list[float]] = {key: [] for key in processes}
    for number in range(rounds + 1):
        for key, seconds in found.items():
            measured = seconds_of(processes[key], key[0])
            if number:
                seconds.append(measured)
    return found


def show(title: str, cases: dict[str, tuple[str, bool]], found: dict[str, list[float]]) -> None:
    """Print a line for each process of one Python."""
    torch = min(found[_TORCH])
    print(f'{title:18} {"least":>7} {"median":>7}')
    for name in sorted(found, key=list(cases).index):
        least, median = min(found[name]), statistics.median(found[name])
        above = f'   {least - torch:+.2f} s over torch, {least / torch:.2f} x'
        print(f'{name:18} {least:7.2f} {median:7.2f}{above if cases[name][1] and name != _TORCH else ""}')


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=positive, default=5, help='processes of each case (default: 5)')
    parser.add_argument('--cases', nargs='+', choices=list(CASES), default=list(CASES), help='default: all')
    parser.add_argument(
        '--peer', type=program, metavar='PYTHON', help='the Python of an environment that has ultralytics'
    )
    parser.add_argument('--json', type=output_file, help='also write the results there')
    args = parser.parse_args(argv)
    names = list(dict.fromkeys([_TORCH, *args.cases]))
    with TemporaryDirectory() as folder:
        model = write_model(folder) if any('{model' in CASES[name][0] for name in names) else ''
        processes = {(sys.executable, name): CASES[name][0].replace('{model!r}', repr(model)) for name in names}
        if args.peer:
            processes |= {(args.peer, name): code for name, (code, _) in PEER_CASES.items()}
        found = measure(processes, args.rounds)
    print(f'seconds, {args.rounds} processes each')
    show('detkit', CASES, {name: found[sys.executable, name] for name in names})
    if args.peer:
        show('peer', PEER_CASES, {name: found[args.peer, name] for name in PEER_CASES})
    torch = found[sys.executable, _TORCH]
    comparisons = [Comparison(f'start of {name}', 's', found[sys.executable, name], _TORCH, torch) for name in names]
    if args.json is not None:
        write(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    run(main)
