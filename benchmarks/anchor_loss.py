"""Milliseconds of detkit's YOLOv5 loss, forward and backward, against YOLOv5's on equal predictions.

    pip install yolov5==7.0.14
    python benchmarks/anchor_loss.py --batch-size 4 --boxes 40 --threads 2

Both run in this process and take turns; each gets the head's raw predictions, channels_last for detkit and as it makes
them for YOLOv5, and works out losses and their gradients with respect to these. The ratio is that of the medians.
Without YOLOv5 only detkit is timed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from arguments import run
from comparison import Comparison
from loss import CHANNELS, NUM_CLASSES, STRIDES, compare, ground_truth, parse_arguments

from detkit.registry import HEADS
from detkit.structures.gt_batch import GtBatch


def raw_predictions(batch_size: int, size: int) -> list[torch.Tensor]:
    """Return predictions as of a network in training, ``(B, 3, 5 + C, h, w)`` a level: an objectness around -5."""
    generator = torch.Generator().manual_seed(1)
    levels = [
        torch.randn(batch_size, 3, 5 + NUM_CLASSES, size // stride, size // stride, generator=generator)
        for stride in STRIDES
    ]
    for level in levels:
        level[:, :, 4] -= 5
    return levels


def detkit_side(levels: list[torch.Tensor], gt: GtBatch) -> Callable[[], float]:
    head = HEADS.build(dict(type='YOLOv5Head', num_classes=NUM_CLASSES, in_channels=CHANNELS, strides=STRIDES))
    levels = [level.flatten(1, 2).to(memory_format=torch.channels_last).requires_grad_() for level in levels]

    def step() -> float:
        for level in levels:
            level.grad = None
        total = sum(head.loss(dict(anchor_preds=levels), gt).values())
        total.backward()
        return total.item()

    return step


def yolov5_side(levels: list[torch.Tensor], gt: GtBatch, size: int) -> Callable[[], float]:
    from yolov5 import models
    from yolov5.models.yolo import DetectionModel
    from yolov5.utils.loss import ComputeLoss

    model = DetectionModel(str(Path(models.__file__).parent / 'yolov5n.yaml'), ch=3, nc=NUM_CLASSES)
    model.hyp = dict(
        box=0.05,
        obj=(size / 640) ** 2,
        cls=0.5 * NUM_CLASSES / 80,
        obj_pw=1.0,
        cls_pw=1.0,
        anchor_t=4.0,
        fl_gamma=0.0,
        label_smoothing=0.0,
    )
    criterion = ComputeLoss(model)
    levels = [level.permute(0, 1, 3, 4, 2).contiguous().requires_grad_() for level in levels]
    bboxes = gt.bboxes.flatten(0, 1) / size
    targets = torch.cat(
        [
            torch.arange(gt.batch_size).repeat_interleave(gt.max_instances).unsqueeze(1),
            gt.labels.view(-1, 1),
            (bboxes[:, :2] + bboxes[:, 2:]) / 2,
            bboxes[:, 2:] - bboxes[:, :2],
        ],
        1,
    )

    def step() -> float:
        for level in levels:
            level.grad = None
        total = criterion(levels, targets)[0].sum()
        total.backward()
        return total.item()

    return step


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    args = parse_arguments(__doc__, argv)
    torch.set_num_threads(args.threads)
    gt = ground_truth(args.batch_size, args.boxes, args.img_size)
    levels = raw_predictions(args.batch_size, args.img_size)
    sides = {'detkit': detkit_side(levels, gt)}
    if importlib.util.find_spec('yolov5'):
        sides['yolov5'] = yolov5_side(levels, gt, args.img_size)
    return compare('loss of YOLOv5', sides, args)


if __name__ == '__main__':
    run(main)
