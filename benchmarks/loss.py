"""Milliseconds of detkit's YOLOv8 segmentation loss, forward and backward, against ultralytics' on equal predictions.

    pip install ultralytics
    python benchmarks/loss.py --batch-size 4 --boxes 40 --threads 2

Both run in this process and take turns; each gets the head's raw predictions, channels_last for detkit and as it makes
them for ultralytics, and works out losses and their gradients with respect to these. The ratio is that of the medians.
Without ultralytics only detkit is timed.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Sequence

import torch
from arguments import image_side, output_file, positive, run, thread_count
from comparison import Comparison, report, take_turns

from detkit.registry import HEADS
from detkit.structures.gt_batch import GtBatch

NUM_CLASSES = 80
CHANNELS, STRIDES = (64, 128, 256), (8, 16, 32)


def ground_truth(batch_size: int, boxes: int, size: int) -> GtBatch:
    """Return random rectangles of 20 to 220 pixels, the smaller ones on top."""
    generator = torch.Generator().manual_seed(0)
    sides = torch.rand(batch_size, boxes, 2, generator=generator) * 200 + 20
    sides = sides.gather(1, sides.prod(-1).argsort(1, descending=True).unsqueeze(-1).expand(-1, -1, 2))
    corners = torch.rand(batch_size, boxes, 2, generator=generator) * (size - sides)
    bboxes = torch.cat([corners, corners + sides], -1)
    kind = torch.uint8 if boxes < 256 else torch.int16
    masks = torch.zeros(batch_size, size // 4, size // 4, dtype=kind)
    for index_map, image in zip(masks, (bboxes / 4).round().int().tolist(), strict=True):
        for number, (x0, y0, x1, y1) in enumerate(image, 1):
            index_map[y0:y1, x0:x1] = number
    return GtBatch(
        labels=torch.randint(0, NUM_CLASSES, (batch_size, boxes), generator=generator),
        bboxes=bboxes,
        valid=torch.ones(batch_size, boxes, dtype=torch.bool),
        flat_index=torch.arange(batch_size * boxes),
        img_shapes=torch.full((batch_size, 2), size),
        masks=masks,
    )


def raw_predictions(batch_size: int, size: int) -> dict[str, list[torch.Tensor] | torch.Tensor]:
    """Return predictions as of a network in training: distances around 2 strides, class logits around -5."""
    generator = torch.Generator().manual_seed(1)

    def random(channels: int, stride: float, shift: float = 0.0) -> torch.Tensor:
        shape = (batch_size, channels, int(size / stride), int(size / stride))
        return (torch.randn(shape, generator=generator) + shift).to(memory_format=torch.channels_last)

    favour_near = torch.arange(16.0).sub(2).abs().neg().repeat(4).view(1, -1, 1, 1)
    return dict(
        cls_logits=[random(NUM_CLASSES, stride, -5.0) for stride in STRIDES],
        bbox_preds=[random(64, stride) + favour_near for stride in STRIDES],
        mask_coeffs=[random(32, stride) / 4 for stride in STRIDES],
        mask_protos=random(32, STRIDES[0] / 2),
    )


def leaves(preds: dict) -> dict:
    return {
        name: [level.detach().requires_grad_() for level in value]
        if isinstance(value, list)
        else value.detach().requires_grad_()
        for name, value in preds.items()
    }


def detkit_side(preds: dict, gt: GtBatch) -> Callable[[], float]:
    head = HEADS.build(dict(type='YOLOv8SegmentHead', num_classes=NUM_CLASSES, in_channels=CHANNELS, strides=STRIDES))
    preds = leaves(preds)

    def step() -> float:
        total = sum(head.loss(preds, gt).values())
        total.backward()
        return total.item()

    return step


def ultralytics_side(preds: dict, gt: GtBatch, size: int) -> Callable[[], float]:
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import SegmentationModel

    model = SegmentationModel('yolov8n-seg.yaml', ch=3, nc=NUM_CLASSES, verbose=False)
    model.args = get_cfg()
    criterion = model.init_criterion()
    batch_size = gt.batch_size

    def joined(levels: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([level.flatten(2) for level in levels], 2).requires_grad_()

    theirs = dict(
        boxes=joined(preds['bbox_preds']),
        scores=joined(preds['cls_logits']),
        mask_coefficient=joined(preds['mask_coeffs']),
        proto=preds['mask_protos'].contiguous().requires_grad_(),
        feats=[
            torch.zeros(batch_size, channels, *level.shape[-2:])
            for channels, level in zip(CHANNELS, preds['cls_logits'], strict=True)
        ],
    )
    bboxes = gt.bboxes.flatten(0, 1) / size
    batch = dict(
        batch_idx=torch.arange(batch_size).repeat_interleave(gt.max_instances).float(),
        cls=gt.labels.view(-1, 1).float(),
        masks=gt.masks.float(),
        bboxes=torch.cat([(bboxes[:, :2] + bboxes[:, 2:]) / 2, bboxes[:, 2:] - bboxes[:, :2]], 1),
    )

    def step() -> float:
        total = criterion(dict(theirs), batch)[0].sum()
        total.backward()
        return total.item()

    return step


def parse_arguments(description: str, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batch-size', type=positive, default=4)
    parser.add_argument('--img-size', type=image_side, default=640)
    parser.add_argument('--boxes', type=positive, default=40, help='an image')
    parser.add_argument('--threads', type=thread_count, default=2)
    parser.add_argument('--steps', type=positive, default=10, help='counted steps, after 2 that are not')
    parser.add_argument('--json', type=output_file, help='also write the results there')
    args = parser.parse_args(argv)
    if args.boxes > 32767:
        parser.error(f'--boxes {args.boxes}: the masks of an image number 32767 objects at most')
    return args


def compare(what: str, sides: dict[str, Callable[[], float]], args: argparse.Namespace) -> list[Comparison]:
    """Time the sides in turns; detkit comes first."""
    seconds = take_turns(sides, args.steps, warmup=2)
    milliseconds = {name: [value * 1e3 for value in values] for name, values in seconds.items()}
    peer = next((name for name in sides if name != 'detkit'), '')
    title = f'{what}, {args.batch_size} images, {args.boxes} boxes each'
    comparisons = [Comparison(title, 'ms', milliseconds['detkit'], peer, milliseconds.get(peer, []))]
    report(comparisons, args.json)
    return comparisons


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    args = parse_arguments(__doc__, argv)
    torch.set_num_threads(args.threads)
    gt = ground_truth(args.batch_size, args.boxes, args.img_size)
    preds = raw_predictions(args.batch_size, args.img_size)
    sides = {'detkit': detkit_side(preds, gt)}
    if importlib.util.find_spec('ultralytics'):
        sides['ultralytics'] = ultralytics_side(preds, gt, args.img_size)
    return compare('loss of YOLOv8-seg', sides, args)


if __name__ == '__main__':
    run(main)
