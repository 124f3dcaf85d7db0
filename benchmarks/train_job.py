"""Wall time of a whole training run of detkit against ultralytics: process start to last checkpoint.

    pip install ultralytics
    python benchmarks/train_job.py --images 64 --epochs 3

Both train the same network from scratch on the same rendered pictures (drawn here first, not counted), at the same
size, batch, optimiser, worker count and augmentation, write their checkpoints and validate once at the end. The two
take turns, ``--rounds`` times. By default both get ``--threads``; ``--as-shipped`` leaves the number to each project.
The seconds per image, start-up and validation not counted, come from runs of one epoch and of ``--epochs``.

ultralytics trains in float32 on a CPU and in float16 on a GPU; detkit in bf16 where the processor has it (``--no-amp``
for float32, of both on a GPU).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from arguments import device, image_side, not_negative, output_file, positive, run, thread_count
from comparison import Comparison, report
from sides import ROOT, image_operations, precision

PEER = """
import sys
import torch
import ultralytics.utils.torch_utils as torch_utils
from ultralytics import YOLO
data, epochs, img_size, batch_size, workers, threads, device, amp, project, model = sys.argv[1:]
if threads != 'shipped':
    torch_utils.NUM_THREADS = int(threads)  # what its device selection hands to torch
YOLO(model).train(
    data=data, epochs=int(epochs), imgsz=int(img_size), batch=int(batch_size), workers=int(workers), device=device,
    amp=amp == 'True', optimizer='AdamW', lr0=1e-3, nbs=int(batch_size), plots=False, val=False, project=project,
    name='peer')
print('torch threads:', torch.get_num_threads())
"""


def detkit_command(args: argparse.Namespace, data: Path, epochs: int, out: Path) -> list[str]:
    options = {
        'size': args.size,
        'data_root': data,
        'batch_size': args.batch_size,
        'num_workers': args.workers,
        'img_size': args.img_size,
        'repeat_times': 1,
        'max_epochs': epochs,
        'train_cfg.val_interval': epochs,
        'optim_wrapper.amp': args.amp,
        **dict(option.split('=', 1) for option in args.options),
    }
    config = ROOT / f'configs/yolov8/{args.task}_n_coco8.py'
    return [
        sys.executable,
        str(ROOT / 'tools/train.py'),
        str(config),
        '--work-dir',
        str(out),
        '--device',
        args.device,
        '--cfg-options',
        *(f'{key}={value}' for key, value in options.items()),
    ]


def ultralytics_command(args: argparse.Namespace, data: Path, epochs: int, out: Path) -> list[str]:
    suffix = '-seg' if args.task == 'seg' else ''
    threads = 'shipped' if args.as_shipped else str(args.threads)
    return [
        sys.executable,
        '-c',
        PEER,
        str(data / 'data.yaml'),
        str(epochs),
        str(args.img_size),
        str(args.batch_size),
        str(args.workers),
        threads,
        args.device.removeprefix('cuda:') if args.device != 'cuda' else '0',
        str(args.amp),
        str(out),
        f'yolov8{args.size}{suffix}.yaml',
    ]


def timed(name: str, command: list[str], args: argparse.Namespace, log: Path) -> float:
    """Return the seconds of a process; its output goes to ``log``, and is shown if it fails."""
    environment = dict(os.environ)
    if not args.as_shipped:
        environment['OMP_NUM_THREADS'] = str(args.threads)
    start = time.perf_counter()
    with log.open('w') as stream:
        code = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, env=environment, cwd=ROOT).returncode
    if code:
        sys.exit(f'{name} failed with exit code {code}:\n{log.read_text()[-3000:]}')
    return time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--task', choices=['det', 'seg'], default='seg')
    parser.add_argument('--size', choices=list('nsmlx'), default='n')
    parser.add_argument('--images', type=positive, default=64, help='training pictures')
    parser.add_argument('--epochs', type=positive, default=3)
    parser.add_argument('--rounds', type=positive, default=2)
    parser.add_argument('--batch-size', type=positive, default=16)
    parser.add_argument('--img-size', type=image_side, default=640)
    parser.add_argument('--workers', type=not_negative, default=2)
    parser.add_argument('--threads', type=thread_count, default=2)
    parser.add_argument('--as-shipped', action='store_true')
    parser.add_argument('--amp', action=argparse.BooleanOptionalAction, default=True, help='bf16 for detkit')
    parser.add_argument('--device', type=device, default='cpu', help='of both: cpu, cuda, cuda:1, ...')
    parser.add_argument('--options', nargs='+', default=[], metavar='KEY=VALUE', help="more of detkit's config options")
    parser.add_argument('--json', type=output_file, help='also write the results there')
    args = parser.parse_args(argv)
    if args.epochs < 2:
        parser.error(
            '--epochs: the time of an image is that of the epochs after the first, so that it takes 2 at least'
        )

    from detkit.datasets.class_names import COCO80
    from detkit.sample_data.coco8 import render_coco8_seg

    commands = {'detkit': detkit_command}
    if importlib.util.find_spec('ultralytics'):
        commands['ultralytics'] = ultralytics_command
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, 'data')
        render_coco8_seg(data, num_train=args.images, num_val=8)
        names = '\n'.join(f'  {number}: {name}' for number, name in enumerate(COCO80))
        (data / 'data.yaml').write_text(f'path: {data}\ntrain: images/train\nval: images/val\nnames:\n{names}\n')
        whole: dict[str, list[float]] = {name: [] for name in commands}
        single: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(args.rounds):
            for name, make in commands.items():
                for epochs, seconds in ((1, single), (args.epochs, whole)):
                    out = Path(folder, f'{name}-{turn}-{epochs}')
                    seconds[name].append(timed(name, make(args, data, epochs, out), args, Path(folder, 'log.txt')))
    kind = precision(args.amp, args.device)
    title = f'YOLOv8{args.size} {args.task}, batch {args.batch_size}, {args.img_size} px, {kind}'
    if args.device != 'cpu':
        title += f', {args.device}'
    per_image = {
        name: [
            (all_epochs - first) / (args.epochs - 1) / args.images
            for all_epochs, first in zip(whole[name], single[name], strict=True)
        ]
        for name in commands
    }
    peer = 'ultralytics' if 'ultralytics' in commands else ''
    work = 0.0  # the processor's peak is what it is compared with
    if args.device == 'cpu':
        work = 3.0 * image_operations(f'yolov8/{args.task}_n_coco8', args.size, img_size=args.img_size)
    comparisons = [
        Comparison(
            what,
            's',
            values['detkit'],
            peer,
            values.get(peer, []),
            work=images * work if min(values['detkit']) > 0 else 0.0,  # a difference of short runs may be below 0
            number_format='bfloat16' if kind == 'bf16' else 'float32',
        )
        for what, values, images in (
            (f'a training of 1 epoch of {args.images} images, {title}', single, args.images),
            (f'a training of {args.epochs} epochs of {args.images} images, {title}', whole, args.epochs * args.images),
            (f'an image in further epochs, {title}', per_image, 1),
        )
    ]
    report(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    run(main)
