"""Seconds per training step of detkit against ultralytics, on the same synthetic batch, side by side.

    pip install ultralytics
    python benchmarks/train_step.py --batch-size 4 --threads 2

A step is what each project's trainer does with a batch that lies in memory: forward, loss, backward, gradient
clipping, optimiser, EMA. Each side lives in its own process; the two take turns step by step, so that a noisy machine
hits both alike, and the ratio is that of their medians. ``--as-shipped`` leaves the number of threads to each project.

ultralytics trains in float32 on a CPU; detkit in bf16 where the processor has it (``--no-amp`` for float32). detkit's
process keeps memory that is freed, as a run of detkit does by itself; ultralytics' is left as it is, see
``benchmarks/freed_memory.py``.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from arguments import positive, run
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

if TYPE_CHECKING:
    import torch

OBJECTS_PER_IMAGE = 10
NUM_KEYPOINTS = 17


def synthetic_batch(batch_size: int, img_size: int, num_classes: int) -> dict[str, np.ndarray]:
    """Return random images with rectangular objects, the annotations of all tasks, in pixels.

    Returns:
        images ``(B, 3, H, W)`` uint8; of each object bboxes xyxy, rbboxes cxcywh and an angle in radians, keypoints
        with their visibility, and labels; masks, overlap index maps; class_labels ``(B,)``.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, 3, img_size, img_size), dtype=np.uint8)
    centres = rng.uniform(0.2, 0.8, (batch_size, OBJECTS_PER_IMAGE, 2))
    halves = rng.uniform(0.02, 0.18, (batch_size, OBJECTS_PER_IMAGE, 2))
    order = np.argsort(-halves.prod(-1), axis=1)  # large objects first, so that small ones end on top
    centres, halves = (np.take_along_axis(a, order[..., None], 1) for a in (centres, halves))
    bboxes = np.concatenate([centres - halves, centres + halves], -1) * img_size
    masks = np.zeros((batch_size, img_size // 4, img_size // 4), np.uint8)
    for image, boxes in enumerate((bboxes / 4).round().astype(int)):
        for number, (x0, y0, x1, y1) in enumerate(boxes):
            masks[image, y0:y1, x0:x1] = number + 1
    labels = rng.integers(0, num_classes, (batch_size, OBJECTS_PER_IMAGE))
    angles = rng.uniform(0, np.pi / 2, (batch_size, OBJECTS_PER_IMAGE, 1))
    rbboxes = np.concatenate([centres * img_size, 2 * halves * img_size, angles], -1)
    places = rng.uniform(-1, 1, (batch_size, OBJECTS_PER_IMAGE, NUM_KEYPOINTS, 2))
    points = (centres[..., None, :] + halves[..., None, :] * places) * img_size
    keypoints = np.concatenate([points, np.full((*points.shape[:-1], 1), 2.0)], -1)
    return dict(
        images=images,
        bboxes=bboxes.astype(np.float32),
        rbboxes=rbboxes.astype(np.float32),
        keypoints=keypoints.astype(np.float32),
        masks=masks,
        labels=labels,
        class_labels=rng.integers(0, num_classes, batch_size),
    )


def ultralytics_step(args: argparse.Namespace):
    """Return a function that does one training step of ultralytics' network as its trainer does."""
    import torch
    from ultralytics.cfg import get_cfg
    from ultralytics.nn import tasks
    from ultralytics.utils.torch_utils import ModelEMA, select_device

    if args.as_shipped:
        select_device('cpu')  # its trainer's first act, which also sets the number of threads
    else:
        torch.set_num_threads(args.threads)
    prefix = dict(det='Detection', seg='Segmentation', pose='Pose', obb='OBB', cls='Classification')[args.task]
    cls = getattr(tasks, 'WorldModel' if args.family == 'yolo_world' else f'{prefix}Model')
    num_classes = number_of_classes(args)
    model = cls(their_config(args), ch=3, nc=num_classes, verbose=False).train()
    model.args = get_cfg()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    ema = ModelEMA(model)
    data = synthetic_batch(args.batch_size, args.img_size, num_classes)
    batch = ultralytics_batch(data, args)
    images = torch.from_numpy(data['images'])
    if args.family == 'yolo_world':  # random embeddings of a text a class, as detkit's
        batch['txt_feats'] = model.txt_feats.expand(args.batch_size, -1, -1)

    def step() -> float:
        loss, _ = model(dict(batch, img=images.float() / 255))
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.update(model)
        return float(loss.detach().sum())

    return step


def ultralytics_batch(data: Mapping[str, np.ndarray], args: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Return the annotations as ultralytics takes them: of all objects of the batch, in shares of the image."""
    import torch

    if args.task == 'cls':
        return dict(cls=torch.from_numpy(data['class_labels']))
    x0, y0, x1, y1 = np.moveaxis(data['bboxes'].reshape(-1, 4) / args.img_size, -1, 0)
    bboxes = np.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], 1)
    if args.task == 'obb':
        bboxes = data['rbboxes'].reshape(-1, 5) / np.float32([args.img_size] * 4 + [1])
    keypoints = data['keypoints'].reshape(-1, NUM_KEYPOINTS, 3) / np.float32([args.img_size, args.img_size, 1])
    return dict(
        batch_idx=torch.arange(args.batch_size).repeat_interleave(OBJECTS_PER_IMAGE).float(),
        cls=torch.from_numpy(data['labels']).reshape(-1, 1).float(),
        bboxes=torch.from_numpy(bboxes).float(),
        masks=torch.from_numpy(data['masks']).float(),
        keypoints=torch.from_numpy(keypoints).float(),
    )


def detkit_step(args: argparse.Namespace):
    """Return the same of detkit: the step of a runner on the model that a config describes."""
    import torch

    from detkit.config import load_config
    from detkit.engine.hooks.ema_hook import ModelEMA
    from detkit.registry import DETECTORS, OPTIM_WRAPPER_CONSTRUCTORS
    from detkit.structures.gt_batch import GtBatch
    from detkit.utils.allocator import keep_freed_memory

    keep_freed_memory()  # as a run does
    if not args.as_shipped:
        torch.set_num_threads(args.threads)
    cfg = load_config(ROOT / f'configs/{config_name(args)}.py', [f'size={args.size}', f'optim_wrapper.amp={args.amp}'])
    model = DETECTORS.build(cfg.model).train()
    optim_cfg = dict(cfg.optim_wrapper)
    optim_wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(type=optim_cfg.pop('constructor'), optim_wrapper_cfg=optim_cfg)
    )(model)
    ema = ModelEMA(model)
    data = synthetic_batch(args.batch_size, args.img_size, number_of_classes(args))
    valid = torch.ones(args.batch_size, OBJECTS_PER_IMAGE, dtype=torch.bool)
    gt = GtBatch(
        labels=torch.from_numpy(data['labels']),
        bboxes=torch.from_numpy(data['bboxes']),
        valid=valid,
        flat_index=torch.arange(valid.numel()),
        masks=torch.from_numpy(data['masks']) if args.task == 'seg' else None,
        keypoints=torch.from_numpy(data['keypoints']) if args.task == 'pose' else None,
        rbboxes=torch.from_numpy(data['rbboxes']) if args.task == 'obb' else None,
        class_labels=torch.from_numpy(data['class_labels']) if args.task == 'cls' else None,
        img_shapes=torch.full((args.batch_size, 2), args.img_size),
    )
    batch = dict(inputs=torch.from_numpy(data['images']), gt=gt, data_samples=None)

    def step() -> float:
        losses = model.train_step(batch, optim_wrapper=optim_wrapper)
        ema.update()
        return float(losses['loss'].detach())

    return step


def number_of_classes(args: argparse.Namespace) -> int:
    """Return the number of classes of detkit's config, which both sides learn."""
    from detkit.config import load_config

    return load_config(ROOT / f'configs/{config_name(args)}.py').model.head.num_classes


def serve(args: argparse.Namespace) -> None:
    """Do steps, each with its seconds, its loss and the peak memory in MiB, in a child process."""
    step = {'detkit': detkit_step, 'ultralytics': ultralytics_step}[args.side](args)

    def timed() -> tuple[float, float, float]:
        start = time.perf_counter()
        loss = step()
        return time.perf_counter() - start, loss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    answer(timed)


def count_operations(args: argparse.Namespace) -> float:
    """Return the floating-point operations of a step's convolutions: those of the forward pass three times."""
    return 3.0 * args.batch_size * image_operations(config_name(args), args.size, img_size=args.img_size)


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    argv = sys.argv[1:] if argv is None else argv
    parser = parser_of(__doc__, batch_size=4)
    parser.add_argument('--steps', type=positive, default=10, help='counted steps, after 2 that are not')
    parser.add_argument('--amp', action=argparse.BooleanOptionalAction, default=True, help='bf16 for detkit')
    args = parse(parser, argv)
    if args.side:
        serve(args)
        return []
    found = answers(__file__, argv, args.steps, warmup=2)
    seconds = {name: [each[0] for each in own] for name, own in found.items()}
    peaks = {name: [each[2] for each in own] for name, own in found.items()}
    peer = peer_name()
    kind = precision(args.amp)
    title = f'{model_name(args)}, batch {args.batch_size}, {args.img_size} px, {kind}'
    comparisons = [
        Comparison(
            f'training step, {title}',
            's',
            seconds['detkit'],
            peer,
            seconds.get(peer, []),
            work=count_operations(args),
            number_format='bfloat16' if kind == 'bf16' else 'float32',
        ),
        Comparison(f'peak memory of training steps, {title}', 'MiB', peaks['detkit'], peer, peaks.get(peer, [])),
    ]
    report(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    run(main)
