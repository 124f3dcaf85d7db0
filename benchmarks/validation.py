"""Seconds of a validation of detkit against ultralytics, with the same weights and data, side by side.

    pip install 'detkit[eval]' ultralytics
    python benchmarks/validation.py --weights yolov8n-seg.pt

A validation is what each project does for ``val`` with scores down to .001: reading annotations and pictures, the
network, suppression, masks, and COCO's or the peer's own metrics; ultralytics compares masks at the size of its
prototypes, detkit at that of the image. Each side lives in its own process, and the two take turns. Each validates all
pictures and a quarter of them: what the others add, divided by their number, is the time of an image, and that of all
pictures is the time of a call, which also opens the config, the weights and the workers.

Without ``--weights`` they are random, so that nothing is found: then it is the data and the network that is timed, not
the metrics (``benchmarks/evaluation.py`` times those). The metrics of both sides are printed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from arguments import at_least, not_negative, positive, run
from comparison import Comparison, report
from sides import (
    ROOT,
    answer,
    answers,
    config_name,
    image_operations,
    model_name,
    parse,
    parser_of,
    peer_name,
    precision,
    their_config,
)


def write_random(path: Path, args: argparse.Namespace, data: Path) -> None:
    """Write a checkpoint of detkit with random weights."""
    from detkit.config import literal_text, load_config
    from detkit.datasets.class_names import COCO80
    from detkit.engine import save_checkpoint
    from detkit.registry import DETECTORS

    cfg = load_config(ROOT / f'configs/{config_name(args)}.py', [f'size={args.size}', f'data_root={data}'])
    meta = dict(format='detkit', format_version=1, classes=list(COCO80), task=args.task, config=literal_text(cfg))
    save_checkpoint({'meta': meta, 'state_dict': DETECTORS.build(cfg.model).state_dict()}, path)


def write_data(folder: Path, args: argparse.Namespace) -> list[Path]:
    """Draw pictures, and return a data.yaml for a quarter of them and one for all."""
    from detkit.datasets.class_names import COCO80
    from detkit.sample_data.coco8 import render_coco8_seg

    render_coco8_seg(folder, num_train=1, num_val=args.images)
    for kind in ('images', 'labels'):
        (folder / kind / 'part').mkdir()
        for path in sorted((folder / kind / 'val').iterdir())[: part_of(args.images)]:
            shutil.copy(path, folder / kind / 'part')
    classes = '\n'.join(f'  {number}: {name}' for number, name in enumerate(COCO80))
    files = []
    for split in ('part', 'val'):
        files.append(folder / f'{split}.yaml')
        files[-1].write_text(f'path: {folder}\ntrain: images/train\nval: images/{split}\nnames:\n{classes}\n')
    return files


def part_of(images: int) -> int:
    return max(images // 4, 1)


def detkit_side(args: argparse.Namespace) -> Callable[[str], dict[str, float]]:
    """Return a function that validates on data and returns the metrics."""
    import torch

    from detkit import Detector

    if not args.as_shipped:
        torch.set_num_threads(args.threads)
    model = Detector(args.weights, device='cpu')
    return lambda data: model.val(
        data,
        batch_size=args.batch_size,
        img_size=args.img_size,
        options={'num_workers': args.workers},
        amp=args.amp,
    )


def ultralytics_side(args: argparse.Namespace) -> Callable[[str], dict[str, float]]:
    """Return the same of ultralytics."""
    import torch
    import ultralytics.utils.torch_utils as torch_utils
    from ultralytics import YOLO

    if not args.as_shipped:
        torch_utils.NUM_THREADS = args.threads  # what its device selection hands to torch
        torch.set_num_threads(args.threads)
    model = YOLO(args.weights)

    def validate(data: str) -> dict[str, float]:
        return model.val(
            data=data,
            batch=args.batch_size,
            imgsz=args.img_size,
            workers=args.workers,
            device='cpu',
            plots=False,
            verbose=False,
            project=str(Path(data).parent),
        ).results_dict

    return validate


def serve(args: argparse.Namespace) -> None:
    """Answer, in a child process, with the seconds of a quarter of the pictures, those of all, and the metrics."""
    validate = {'detkit': detkit_side, 'ultralytics': ultralytics_side}[args.side](args)
    names = {'detkit': 'coco/{}_mAP', 'ultralytics': 'metrics/mAP50-95({})'}[args.side]
    kinds = {'detkit': ('bbox', 'segm'), 'ultralytics': ('B', 'M')}[args.side]

    def timed() -> list[float]:
        seconds = []
        for data in args.data:
            start = time.perf_counter()
            metrics = validate(data)
            seconds.append(time.perf_counter() - start)
        return seconds + [float(metrics[name]) for name in map(names.format, kinds) if name in metrics]

    answer(timed)


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = parser_of(__doc__, batch_size=16)
    parser.add_argument('--images', type=at_least(2), default=128, help='pictures to draw, at least two')
    parser.add_argument('--workers', type=not_negative, default=2)
    parser.add_argument('--rounds', type=positive, default=3, help='counted rounds, after one that is not')
    parser.add_argument('--amp', action='store_true', help='bf16 for detkit')
    parser.add_argument('--weights', help="ultralytics' file of weights for COCO's classes; random ones by default")
    parser.add_argument('--data', nargs='+', help=argparse.SUPPRESS)
    args = parse(parser, argv)
    if args.side:
        serve(args)
        return []

    from detkit.datasets.class_names import COCO80

    peer = peer_name()
    work = 0.0  # unknown for weights that are given
    with tempfile.TemporaryDirectory() as folder:
        argv += ['--data', *map(str, write_data(Path(folder), args))]
        if args.weights is None:
            pictures = Path(folder, 'images/val').iterdir()
            work = image_operations(config_name(args), args.size, pictures, args.img_size)
            weights = str(Path(folder, 'random.pt' if peer else 'random.pth'))
            argv += ['--weights', weights]
            if peer:
                from ultralytics import YOLO

                model = YOLO(their_config(args), verbose=False)
                model.model.names = dict(enumerate(COCO80))
                model.save(weights)
            else:
                write_random(Path(weights), args, Path(folder))
        found = answers(__file__, argv, args.rounds)
    added = args.images - part_of(args.images)
    of_image = {name: [(own[1] - own[0]) / added for own in each] for name, each in found.items()}
    of_call = {name: [own[1] for own in each] for name, each in found.items()}
    kind = precision(args.amp)
    title = f'{model_name(args)}, batch {args.batch_size}, {args.img_size} px, {kind}'
    comparisons = [
        Comparison(
            f'validation of {what}, {title}',
            's',
            values['detkit'],
            peer,
            values.get(peer, []),
            work=images * work if min(values['detkit']) > 0 else 0.0,  # a difference of few images may be below 0
            number_format='bfloat16' if kind == 'bf16' else 'float32',
        )
        for what, values, images in (('an image', of_image, 1), (f'{args.images} images', of_call, args.images))
    ]
    report(comparisons, args.json)
    for name, each in found.items():
        kinds = zip(('boxes', 'masks'), zip(*(own[2:] for own in each), strict=True), strict=False)
        print(f'{name}: mAP', ', '.join(f'{kind} {statistics.median(values):.4f}' for kind, values in kinds))
    return comparisons


if __name__ == '__main__':
    run(main)
