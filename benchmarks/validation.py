"""Seconds an image of a validation of detkit against ultralytics, with the same weights and data, side by side.

    pip install ultralytics
    python benchmarks/validation.py --images 64 --batch-size 16

A validation is what each project does for ``val``: reading annotations and pictures, the network, suppression, masks,
and COCO's or the peer's own metrics. Each side lives in its own process, and the two take turns. The weights are
random, so that nothing is found: it is the data and the network that is timed, not the metrics
(``benchmarks/evaluation.py`` times those).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from comparison import Comparison, report
from sides import answer, answers, parser_of, peer_name

ROOT = Path(__file__).resolve().parents[1]


def write_random(path: Path, args: argparse.Namespace, data: Path) -> None:
    """Write a checkpoint of detkit with random weights."""
    from detkit.config import literal_text, load_config
    from detkit.datasets.class_names import COCO80
    from detkit.engine import save_checkpoint
    from detkit.registry import DETECTORS

    cfg = load_config(ROOT / f'configs/yolov8/{args.task}_n_coco8.py', [f'size={args.size}', f'data_root={data}'])
    meta = dict(format='detkit', format_version=1, classes=list(COCO80), task=args.task, config=literal_text(cfg))
    save_checkpoint({'meta': meta, 'state_dict': DETECTORS.build(cfg.model).state_dict()}, path)


def detkit_side(args: argparse.Namespace) -> Callable[[], object]:
    """Return a function that validates on the data."""
    import torch

    from detkit import Detector

    if not args.as_shipped:
        torch.set_num_threads(args.threads)
    model = Detector(args.weights, device='cpu')
    return lambda: model.val(
        args.data,
        batch_size=args.batch_size,
        img_size=args.img_size,
        options={'num_workers': args.workers},
        amp=args.amp,
    )


def ultralytics_side(args: argparse.Namespace) -> Callable[[], object]:
    """Return the same of ultralytics."""
    import torch
    import ultralytics.utils.torch_utils as torch_utils
    from ultralytics import YOLO

    if not args.as_shipped:
        torch_utils.NUM_THREADS = args.threads  # what its device selection hands to torch
        torch.set_num_threads(args.threads)
    model = YOLO(args.weights)
    return lambda: model.val(
        data=args.data,
        batch=args.batch_size,
        imgsz=args.img_size,
        workers=args.workers,
        device='cpu',
        plots=False,
        verbose=False,
        project=str(Path(args.data).parent),
    )


def serve(args: argparse.Namespace) -> None:
    """Validate, each time with the seconds of an image, in a child process."""
    validate = {'detkit': detkit_side, 'ultralytics': ultralytics_side}[args.side](args)

    def timed() -> tuple[float]:
        start = time.perf_counter()
        validate()
        return ((time.perf_counter() - start) / args.images,)

    answer(timed)


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = parser_of(__doc__, batch_size=16)
    parser.add_argument('--images', type=int, default=64, help='pictures to draw')
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=3, help='counted rounds, after one that is not')
    parser.add_argument('--amp', action='store_true', help='bf16 for detkit')
    parser.add_argument('--data', help=argparse.SUPPRESS)
    parser.add_argument('--weights', help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.side:
        serve(args)
        return []

    from detkit.datasets.class_names import COCO80
    from detkit.sample_data.coco8 import render_coco8_seg

    peer = peer_name()
    with tempfile.TemporaryDirectory() as folder:
        render_coco8_seg(Path(folder), num_train=1, num_val=args.images)
        classes = '\n'.join(f'  {number}: {name}' for number, name in enumerate(COCO80))
        data = Path(folder, 'data.yaml')
        data.write_text(f'path: {folder}\ntrain: images/train\nval: images/val\nnames:\n{classes}\n')
        weights = str(Path(folder, 'random.pt' if peer else 'random.pth'))
        argv += ['--data', str(data), '--weights', weights]
        if peer:
            from ultralytics import YOLO

            model = YOLO(f'yolov8{args.size}{"-seg" if args.task == "seg" else ""}.yaml', verbose=False)
            model.model.names = dict(enumerate(COCO80))
            model.save(weights)
        else:
            write_random(Path(weights), args, Path(folder))
        found = answers(__file__, argv, args.rounds)
    seconds = {name: [each[0] for each in own] for name, own in found.items()}
    kind = 'bf16' if args.amp else 'float32'
    title = f'YOLOv8{args.size} {args.task}, batch {args.batch_size}, {args.img_size} px, {kind}'
    comparisons = [Comparison(f'validation of an image, {title}', 's', seconds['detkit'], peer, seconds.get(peer, []))]
    report(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    main()
