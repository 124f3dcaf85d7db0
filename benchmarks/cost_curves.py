"""The cost of each part of detkit as its input grows, with slope, R² and the exponent between the two largest sizes.

    python benchmarks/cost_curves.py
    python benchmarks/cost_curves.py --only 'boxes: loss' memory

A cost is the least of a few calls. Against it and the size a line is fitted by least squares; R² says how much of the
cost it explains. The exponent is that of the size between the two largest: 1 is linear, 2 is quadratic, 0 is none.

- boxes of an image, 1 to 3,000: the loss with its assigner, a mosaic sample with outlines, evaluation;
- images of a dataset, 100 to a million, of which only the metadata is made: its records, an epoch's order;
- pixels of an image: the network, and a sample;
- classes, 1 to 1,200: the loss, and evaluation;
- worker processes: images a second;
- epochs of a training: resident memory, in which a slope is a leak.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from arguments import not_negative, output_file, positive, run
from comparison import Comparison, write
from evaluation import NUM_CLASSES, SHAPE, draw_bboxes
from loss import CHANNELS, STRIDES, ground_truth
from mmengine.structures import InstanceData
from torch.utils.data import DataLoader

from detkit.config import load_config
from detkit.datasets import EpochSampler, YoloTxtDataset
from detkit.datasets.collate import collate
from detkit.datasets.flat_annotations import FlatAnnotations, FlatRecords
from detkit.datasets.sample_key import SampleKey
from detkit.engine import train_from_config
from detkit.engine.hooks import Hook
from detkit.evaluation import CocoMetric
from detkit.registry import DETECTORS, HEADS
from detkit.sample_data.coco8 import render_coco8_seg
from detkit.structures.data_sample import DetDataSample
from detkit.utils.allocator import keep_freed_memory

ROOT = Path(__file__).resolve().parents[1]
_REPEATS = 5
_SIDE = 640


@dataclass(frozen=True)
class Curve:
    """A cost at several sizes.

    Attributes:
        name: of the cost.
        per: the unit of the sizes.
        unit: of the costs.
        sizes: ascending.
        costs: one a size.
    """

    name: str
    per: str
    unit: str
    sizes: Sequence[float]
    costs: Sequence[float]

    @property
    def slope(self) -> float:
        return float(np.polyfit(self.sizes, self.costs, 1)[0])

    @property
    def r_squared(self) -> float:
        """The share of the costs' variance that the line explains; 1 where they do not vary."""
        costs = np.asarray(self.costs)
        total = ((costs - costs.mean()) ** 2).sum()
        left = ((costs - np.polyval(np.polyfit(self.sizes, costs, 1), self.sizes)) ** 2).sum()
        return float(1 - left / total) if total else 1.0

    @property
    def exponent(self) -> float:
        """The power of the size by which the cost grows between the last two; NaN where the first is 0."""
        (first, last), (before, after) = self.sizes[-2:], self.costs[-2:]
        return math.log(after / before) / math.log(last / first) if first else math.nan

    @property
    def line(self) -> str:
        points = ', '.join(f'{size:g}: {cost:.3g}' for size, cost in zip(self.sizes, self.costs, strict=True))
        return (
            f'{self.name}: {self.slope:.3g} {self.unit} a {self.per}, R² {self.r_squared:.3f}, '
            f'exponent {self.exponent:.2f} ({points} {self.unit})'
        )


def least_milliseconds(call: Callable[[], object], repeats: int) -> float:
    call()
    least = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - start)
    return least * 1e3


# -- what is timed: a function of the size returns the call ------------------------------------------------------------


def loss_call(num_boxes: int = 10, num_classes: int = NUM_CLASSES) -> Callable[[], object]:
    head = HEADS.build(dict(type='YOLOv8Head', num_classes=num_classes, in_channels=CHANNELS, strides=STRIDES))
    generator = torch.Generator().manual_seed(0)
    preds = {
        key: [
            torch.randn(1, channels, _SIDE // stride, _SIDE // stride, generator=generator).requires_grad_()
            for stride in STRIDES
        ]
        for key, channels in (('cls_logits', num_classes), ('bbox_preds', 64))
    }
    gt = ground_truth(1, num_boxes, _SIDE)
    gt.masks = None
    gt.labels %= num_classes
    leaves = [level for levels in preds.values() for level in levels]
    return lambda: torch.autograd.grad(sum(head.loss(preds, gt).values()), leaves)


def sample_call(folder: Path, num_boxes: int = 10, side: int = 640) -> Callable[[], object]:
    """Return a call that makes a mosaic sample of one picture, its objects being outlines of ten points."""
    root = folder / f'{num_boxes}-{side}'
    for name in ('images', 'labels'):
        (root / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (20, 20, 3), np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(root / 'images' / 'a.jpg'), picture)
    angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    outline = np.stack([np.cos(angles), np.sin(angles)], 1)
    centres, radii = rng.uniform(0.1, 0.9, (num_boxes, 1, 2)), rng.uniform(0.02, 0.09, (num_boxes, 1, 1))
    rings = (centres + radii * outline).reshape(num_boxes, -1)
    (root / 'labels' / 'a.txt').write_text(
        '\n'.join(f'0 {" ".join(f"{value:.6f}" for value in ring)}' for ring in rings)
    )
    dataset = YoloTxtDataset(
        images='images',
        data_root=str(root),
        metainfo=dict(classes=('thing',)),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Mosaic', size=side),
            dict(type='RandomAffine', size=side),
            dict(type='Render', with_masks=True),
            dict(type='PackInputs'),
        ],
    )
    return lambda: collate(dataset.__getitems__([SampleKey(0, 0, 0, 0)]))


def evaluation_call(num_boxes: int = 60, num_classes: int = NUM_CLASSES, num_images: int = 50) -> Callable[[], object]:
    """Return a call that evaluates images of ``num_boxes`` predictions, and a tenth as many objects, of all classes."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(num_images):
        count = max(1, num_boxes // 10)
        sample = DetDataSample(metainfo=dict(img_id=number, img_path=f'{number}.jpg', ori_shape=SHAPE))
        sample.gt_instances = InstanceData(bboxes=draw_bboxes(rng, count), labels=rng.integers(num_classes, size=count))
        sample.pred_instances = InstanceData(
            bboxes=draw_bboxes(rng, num_boxes),
            labels=rng.integers(num_classes, size=num_boxes),
            scores=np.sort(rng.random(num_boxes))[::-1],
        )
        samples.append(sample)

    def call() -> None:
        metric = CocoMetric()
        metric.dataset_meta = dict(classes=[str(number) for number in range(num_classes)])
        metric.process(None, samples)
        metric.evaluate(num_images)

    return call


def records_call(num_images: int) -> Callable[[], object]:
    """Return a call that makes the records of images with seven objects each, and looks at some of them."""
    paths, ids = [f'images/{number:012d}.jpg' for number in range(num_images)], range(num_images)
    shapes, count = np.full((num_images, 2), 640), 7 * num_images
    bboxes = np.tile(np.array([[1.0, 2.0, 30.0, 40.0]]), (count, 1))
    flat = FlatAnnotations(
        images=np.repeat(np.arange(num_images), 7),
        labels=np.zeros(count, np.int64),
        bboxes=bboxes,
        ring_owners=np.zeros(0, np.int64),
        ring_sizes=np.zeros(0, np.int64),
        points=np.zeros((0, 2)),
        ignored=np.zeros(count, bool),
        areas=np.full(count, 9.0),
    )

    def call() -> None:
        records = FlatRecords(paths, ids, shapes, flat)
        for number in range(0, num_images, num_images // 100):
            assert len(records[number].annotations) == 7

    return call


def order_call(num_images: int) -> Callable[[], object]:
    sampler = EpochSampler(range(num_images), batch_size=16)
    return lambda: next(iter(sampler))


def network_call(side: int) -> Callable[[], object]:
    cfg = load_config(ROOT / 'configs/yolov8/det_n_coco8.py', need_classes=False)
    model = DETECTORS.build({**cfg.model, 'head': {**cfg.model['head'], 'num_classes': 80}}).eval()
    model = model.to(memory_format=torch.channels_last)
    images = torch.zeros(1, 3, side, side).contiguous(memory_format=torch.channels_last)
    return torch.no_grad()(lambda: model(images))


def workers_cost(folder: Path, num_workers: int, num_images: int) -> float:
    """Return how many images a second a loader with workers makes, after its first batch."""
    call = sample_call(folder)
    loader = DataLoader([call] * num_images, batch_size=4, num_workers=num_workers, collate_fn=_call_all)
    batches = iter(loader)
    next(batches)
    start = time.perf_counter()
    count = 4 * sum(1 for _ in batches)
    return count / (time.perf_counter() - start)


def _call_all(calls: Sequence[Callable[[], object]]) -> int:
    for call in calls:
        call()
    return len(calls)


class MemoryHook(Hook):
    """Notes the process's resident memory in MB after each epoch."""

    def __init__(self) -> None:
        self.megabytes: list[float] = []

    def after_train_epoch(self, runner: object) -> None:
        gc.collect()
        pages = int(Path('/proc/self/statm').read_text().split()[1])
        self.megabytes.append(pages * os.sysconf('SC_PAGE_SIZE') / 1e6)


def memory_curve(folder: Path, epochs: int) -> Curve:
    """Return the resident memory along a training; the first third of the epochs, in which it settles, is left out."""
    data, hook = folder / 'coco8', MemoryHook()
    render_coco8_seg(data, num_train=4, num_val=2)
    options = dict(data_root=str(data), img_size=64, batch_size=2, num_workers=0, max_epochs=epochs, repeat_times=1)
    with contextlib.redirect_stdout(io.StringIO()):
        train_from_config(
            str(ROOT / 'configs/yolov8/seg_n_coco8.py'),
            {**options, 'train_cfg.val_interval': epochs},
            work_dir=str(folder / 'run'),
            device='cpu',
            hooks=[hook],
        )
    first = epochs // 3
    return Curve('epochs: memory', 'epoch', 'MB', range(first + 1, epochs + 1), hook.megabytes[first:])


# -- the curves --------------------------------------------------------------------------------------------------------

BOXES, TINY_BOXES = (1, 10, 100, 300, 1000, 3000), (1, 2, 4)
IMAGES, TINY_IMAGES = (100, 1000, 10_000, 100_000, 1_000_000), (100, 200, 400)
SIDES, TINY_SIDES = (160, 320, 480, 640, 960), (64, 96, 128)
CLASSES, TINY_CLASSES = (1, 10, 80, 300, 1200), (1, 2, 4)
# Name, unit of the size, the sizes, tiny ones, and the call of a size; folders are given to those that need one.
CURVES: tuple[tuple[str, str, Sequence[int], Sequence[int], Callable], ...] = (
    ('boxes: loss', 'box', BOXES, TINY_BOXES, loss_call),
    ('boxes: sample', 'box', BOXES, TINY_BOXES, sample_call),
    ('boxes: evaluation', 'box', BOXES, TINY_BOXES, evaluation_call),
    ('images: records', 'image', IMAGES, TINY_IMAGES, records_call),
    ('images: order', 'image', IMAGES, TINY_IMAGES, order_call),
    ('pixels: network', 'megapixel', SIDES, TINY_SIDES, network_call),
    ('pixels: sample', 'megapixel', SIDES, TINY_SIDES, sample_call),
    ('classes: loss', 'class', CLASSES, TINY_CLASSES, loss_call),
    ('classes: evaluation', 'class', CLASSES, TINY_CLASSES, evaluation_call),
)
NAMES = (*(name for name, *_ in CURVES), 'workers', 'memory')


def trace_curve(index: int, quick: bool, folder: Path) -> Curve:
    name, per, sizes, tiny, make = CURVES[index]
    sizes, repeats = (tiny, 1) if quick else (sizes, _REPEATS)
    key = {'boxes': 'num_boxes', 'images': 'num_images', 'pixels': 'side', 'classes': 'num_classes'}[name.split(':')[0]]
    make = partial(make, folder) if make is sample_call else make
    costs = [least_milliseconds(make(**{key: size}), repeats) for size in sizes]
    return Curve(name, per, 'ms', [size**2 / 1e6 for size in sizes] if key == 'side' else sizes, costs)


def main(argv: Sequence[str] | None = None) -> list[Curve]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', choices=NAMES, default=NAMES, help='default: all')
    parser.add_argument('--quick', action='store_true', help='tiny sizes, to see that all of them run')
    parser.add_argument('--workers', type=not_negative, nargs='+', default=[1, 2], help='(default: 1 2)')
    parser.add_argument(
        '--epochs', type=positive, default=60, help='of the training whose memory is watched (default: 60)'
    )
    parser.add_argument('--json', type=output_file, help='also write slopes there')
    args = parser.parse_args(argv)
    if len(args.workers) < 2 or args.workers != sorted(set(args.workers)):
        parser.error(
            f'--workers {" ".join(map(str, args.workers))}: a line needs two numbers of workers or more, ascending'
        )
    if args.epochs < 2:
        parser.error(f'--epochs {args.epochs}: a line needs two epochs or more')
    keep_freed_memory()  # as training does
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    curves = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in args.only:
            if name == 'workers':
                images = 8 if args.quick else 400
                rates = [workers_cost(folder, count, images) for count in args.workers]
                curve = Curve(name, 'worker', 'images/s', args.workers, rates)
            elif name == 'memory':
                curve = memory_curve(folder, 3 if args.quick else args.epochs)
            else:
                curve = trace_curve(NAMES.index(name), args.quick, folder)
            print(curve.line, flush=True)
            curves.append(curve)
    if args.json is not None:
        slopes = [
            Comparison(
                f'{each.name}, R² {each.r_squared:.3f}, exponent {each.exponent:.2f}',
                f'{each.unit} a {each.per}',
                [each.slope],
            )
            for each in curves
        ]
        write(slopes, args.json)
    return curves


if __name__ == '__main__':
    run(main)
