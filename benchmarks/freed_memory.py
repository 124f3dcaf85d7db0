"""Seconds of a training step and of a prediction with freed memory kept, against memory that goes back to the system.

    python benchmarks/freed_memory.py --batch-size 8

``DETKIT_KEEP_MEMORY=0`` gives the other side. Each side lives in a process of its own, the two take turns, and the
peak of each process's memory stands beside the times; the image sizes of the steps vary, as in multi-scale training.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import TextIO

import numpy as np
from arguments import image_side, output_file, positive, run, thread_count
from comparison import Comparison, report

WORKS = ('training step, float32', 'training step, bf16', 'prediction of a batch')
# Factors of the side of the images, in turns.
_SCALES = (1.0, 0.8, 1.2, 0.9)


def training(args: argparse.Namespace, amp: bool) -> Callable[[int], object]:
    import train_step

    steps = []
    for scale in _SCALES:
        size = max(int(args.img_size * scale) // 32, 2) * 32
        options = argparse.Namespace(
            family='yolov8',
            task='seg',
            size='n',
            batch_size=args.batch_size,
            img_size=size,
            amp=amp,
            threads=args.threads,
            as_shipped=False,
        )
        steps.append(train_step.detkit_step(options))
    return lambda number: steps[number % len(steps)]()


def prediction(args: argparse.Namespace) -> Callable[[int], object]:
    import torch

    from detkit import Detector

    torch.set_num_threads(args.threads)
    detector = Detector('yolov8/seg_n_coco8')
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 256, (args.batch_size, args.img_size, args.img_size, 3), dtype=np.uint8))
    return lambda number: detector(
        images, channel_order='rgb', batch_size=args.batch_size, img_size=args.img_size, score_thr=0.9
    )


def serve(args: argparse.Namespace) -> None:
    """Do a step for each line read, and print its seconds and the peak memory in MB, in a child process."""
    from detkit.utils.allocator import keep_freed_memory

    keep_freed_memory()  # as a run and a predictor do
    answers = sys.stdout
    with redirect_stdout(sys.stderr):  # what detkit says is no answer
        work = prediction(args) if args.side == WORKS[2] else training(args, amp=args.side == WORKS[1])
        _answer(work, answers)


def _answer(work: Callable[[int], object], answers: TextIO) -> None:
    print('ready', file=answers, flush=True)
    for number, _ in enumerate(sys.stdin):
        start = time.perf_counter()
        work(number)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([seconds, peak]), file=answers, flush=True)


def compare(work: str, args: argparse.Namespace, argv: Sequence[str]) -> list[Comparison]:
    """Return the seconds and the peaks of one kind of work with memory kept, and with memory given back."""
    command = [sys.executable, __file__, *argv, '--side', work]
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, 'DETKIT_KEEP_MEMORY': keep},
        )
        for keep in ('1', '0')
    ]
    seconds: tuple[list[float], list[float]] = ([], [])
    peaks = [0.0, 0.0]
    try:
        for process in processes:
            while (line := process.stdout.readline()) and line.strip() != 'ready':
                print(line, end='')
            if not line:
                sys.exit(f'{work} did not start; its message is above')
        for number in range(args.steps + len(_SCALES)):
            for side, process in enumerate(processes):
                process.stdin.write('step\n')
                process.stdin.flush()
                line = process.stdout.readline()
                if not line:
                    sys.exit(f'{work} stopped; its message is above')
                elapsed, peaks[side] = json.loads(line)
                if number >= len(_SCALES):
                    seconds[side].append(elapsed)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    peer = 'memory given back'
    return [
        Comparison(work, 's', seconds[0], peer, seconds[1]),
        Comparison(f'{work}, peak memory', 'MB', [peaks[0]], peer, [peaks[1]]),
    ]


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batch-size', type=positive, default=8)
    parser.add_argument('--img-size', type=image_side, default=640)
    parser.add_argument('--threads', type=thread_count, default=2)
    parser.add_argument('--steps', type=positive, default=12, help='counted steps, after one of each size')
    parser.add_argument('--works', nargs='+', choices=WORKS, default=WORKS, help='default: all')
    parser.add_argument('--json', type=output_file, help='also write the results there')
    parser.add_argument('--side', choices=WORKS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.side:
        serve(args)
        return []
    comparisons = [each for work in args.works for each in compare(work, args, argv)]
    report(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    run(main)
