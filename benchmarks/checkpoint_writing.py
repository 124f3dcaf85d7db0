"""Time that a checkpoint holds up training, written in the background and while training waits.

    python benchmarks/checkpoint_writing.py --size s

The checkpoint has what a run's has: weights, their averages, and the state of AdamW, from random numbers. The two ways
take turns, ``--rounds`` times, each waiting for the other's end; the numbers are medians. Writing
includes the wait for the disk (``fsync``), so that ``--folder`` should be on the disk of the runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from arguments import output_file, output_folder, positive, run
from comparison import Comparison, report

from detkit.config import load_config
from detkit.engine.checkpoint_writer import CheckpointWriter
from detkit.registry import DETECTORS

ROOT = Path(__file__).resolve().parents[1]


def make_checkpoint(config: str, size: str) -> dict:
    """Return a checkpoint of the model of a config after a step of AdamW."""
    cfg = load_config(ROOT / config, {'size': size}, need_classes=False)
    head = {**cfg.model['head'], 'num_classes': 80}
    model = DETECTORS.build({**cfg.model, 'head': head})
    optimizer = torch.optim.AdamW(model.parameters())
    for param in model.parameters():
        param.grad = torch.randn_like(param)
    optimizer.step()
    weights = model.state_dict()
    averages = {name: tensor.clone() for name, tensor in weights.items()}
    return {'state_dict': averages, 'model': dict(weights), 'optimizer': optimizer.state_dict()}


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default='configs/yolov8/seg_n_coco8.py')
    parser.add_argument('--size', default='s', help='one of the config (default: s)')
    parser.add_argument('--rounds', type=positive, default=7)
    parser.add_argument('--folder', type=output_folder, help='where to write; a temporary folder where left out')
    parser.add_argument('--json', type=output_file, help='also write the results there')
    args = parser.parse_args(argv)

    checkpoint = make_checkpoint(args.config, args.size)
    held_up: dict[bool, list[float]] = {True: [], False: []}
    whole = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path, writer = Path(folder, 'last.pth'), CheckpointWriter(print)
        for turn in range(args.rounds + 1):
            for background, seconds in held_up.items():
                start = time.perf_counter()
                writer.write(checkpoint, [path], background)
                seconds.append(time.perf_counter() - start)
                writer.wait()
                if background:
                    whole.append(time.perf_counter() - start)
            if turn == 0:  # the first one is not counted
                whole.clear()
                for seconds in held_up.values():
                    seconds.clear()
        megabytes = path.stat().st_size / 1e6
    own, waiting, whole = ([value * 1e3 for value in values] for values in (held_up[True], held_up[False], whole))
    title = f'training held up by a checkpoint of {megabytes:.0f} MB'
    comparisons = [
        Comparison(title, 'ms', own, 'writing while it waits', waiting),
        Comparison(f'writing a checkpoint of {megabytes:.0f} MB in the background', 'ms', whole),
    ]
    report(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    run(main)
