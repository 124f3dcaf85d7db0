"""Whole trainings and predictions on a GPU, detkit against ultralytics: YOLOv8 with and without masks.

    pip install ultralytics
    python benchmarks/gpu.py --json gpu.json

Runs ``train_job.py`` for each batch size, with detkit's images kept decoded on the device and drawn there, and
``prediction.py`` for batches of 1 and 32, detkit in bf16 and ultralytics in float16. Each prints its own line. It has
not been run on a GPU by detkit's authors; ``--device cpu`` with small sizes shows that it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import prediction
import train_job
from arguments import device, image_side, not_negative, output_file, positive, run
from comparison import Comparison, write


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', type=device, default='cuda:0')
    parser.add_argument('--tasks', nargs='+', choices=['det', 'seg'], default=['det', 'seg'])
    parser.add_argument('--train-batches', nargs='*', type=positive, default=[16, 32, 64, 128])
    parser.add_argument('--predict-batches', nargs='*', type=positive, default=[1, 32])
    parser.add_argument(
        '--images', type=positive, default=1024, help='of a training; a prediction reads a quarter of them'
    )
    parser.add_argument('--epochs', type=positive, default=4)
    parser.add_argument('--img-size', type=image_side, default=640)
    parser.add_argument('--workers', type=not_negative, default=8)
    parser.add_argument(
        '--rounds', type=positive, default=3, help='of a prediction; trainings are long enough to run once'
    )
    parser.add_argument('--json', type=output_file, help='also write the results there')
    args = parser.parse_args(argv)
    if args.epochs < 2:
        parser.error(
            '--epochs: the time of an image is that of the epochs after the first, so that it takes 2 at least'
        )
    if not args.train_batches and not args.predict_batches:
        parser.error('--train-batches and --predict-batches are both empty: there is nothing to measure')
    shared = ['--device', args.device, '--img-size', str(args.img_size)]
    found: list[Comparison] = []
    for task in args.tasks:
        for batch_size in args.train_batches:
            sizes = ['--images', args.images, '--epochs', args.epochs, '--workers', args.workers]
            found += train_job.main(
                [*shared, '--task', task, '--batch-size', str(batch_size), '--rounds', '1', '--as-shipped']
                + [str(each) for each in sizes]
                + ['--options', 'cache=ram', 'render_on=device']
            )
        for batch_size in args.predict_batches:
            found += prediction.main(
                [*shared, '--task', task, '--batch-size', str(batch_size), '--amp', '--as-shipped']
                + ['--images', str(max(1, args.images // 4)), '--rounds', str(args.rounds)]
            )
    if args.json is not None:
        write(found, args.json)
    return found


if __name__ == '__main__':
    run(main)
