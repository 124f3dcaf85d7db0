"""Milliseconds a mosaic training sample (640 px, with masks) costs on one core: detkit against the usual way.

    pip install ultralytics
    python benchmarks/data_pipeline.py --data data/coco8-seg

Peers, on the same images, with the same augmentations, from file to collated batch:

- ``chain``: written out below as most pipelines have it, a canvas of twice the size on which four resized images are
  pasted, a warp of the canvas, polygons moved one by one, colours channel by channel, masks drawn large and shrunk;
- ``ultralytics``, where it is installed: its own dataset.

Each decodes one image a sample (``decode``; ultralytics keeps recent images for its mosaics, the chain's other three
are given to it for nothing) or none (``cached``). The ways take turns, and the ratio is that of their medians.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2
import numpy as np
import torch
from arguments import output_file, positive, run
from comparison import Comparison, report

from detkit.datasets import YoloTxtDataset
from detkit.datasets.class_names import COCO80
from detkit.datasets.collate import collate
from detkit.datasets.sample_key import SampleKey
from detkit.datasets.transforms.loading import read_image
from detkit.structures.annotations import Record


def detkit_way(args: argparse.Namespace, cached: bool) -> Callable[[int], None]:
    dataset = YoloTxtDataset(
        images=args.images,
        data_root=args.data,
        metainfo=dict(classes=COCO80),
        cache='ram' if cached else None,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Mosaic', size=args.img_size),
            dict(type='RandomAffine', size=args.img_size),
            dict(type='RandomFlip'),
            dict(type='Render', with_masks=True),
            dict(type='RandomHSV'),
            dict(type='PackInputs'),
        ],
    )

    def batch(epoch: int) -> None:
        order = np.random.default_rng(epoch).permutation(max(len(dataset), args.batch_size)) % len(dataset)
        collate(dataset.__getitems__([SampleKey(0, epoch, p, int(order[p])) for p in range(args.batch_size)]))

    return batch


def chain_way(args: argparse.Namespace, cached: bool) -> Callable[[int], None]:
    records = YoloTxtDataset(images=args.images, data_root=args.data, metainfo=dict(classes=COCO80)).records
    images = {record.img_path: read_image(record.img_path) for record in records}

    def batch(epoch: int) -> None:
        rng = np.random.default_rng(epoch)
        samples = []
        for _ in range(args.batch_size):
            chosen = [records[int(i)] for i in rng.integers(len(records), size=4)]
            first = images[chosen[0].img_path] if cached else read_image(chosen[0].img_path)
            decoded = [first, *(images[record.img_path] for record in chosen[1:])]
            samples.append(chain_sample(rng, chosen, decoded, args.img_size))
        torch.stack([torch.from_numpy(img) for img, _, _ in samples])
        torch.stack([torch.from_numpy(masks) for _, _, masks in samples])

    return batch


def chain_sample(
    rng: np.random.Generator, records: list[Record], images: list[np.ndarray], size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    canvas = np.full((2 * size, 2 * size, 3), 114, np.uint8)
    x, y = (int(value) for value in rng.uniform(0.5 * size, 1.5 * size, 2))
    polygons = []
    for corner, (record, img) in enumerate(zip(records, images, strict=True)):
        ratio = size / max(img.shape[:2])
        img = cv2.resize(img, None, fx=ratio, fy=ratio)
        h, w = img.shape[:2]
        left, top = (x if corner % 2 else x - w), (y if corner // 2 else y - h)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + w, 2 * size), min(top + h, 2 * size)
        canvas[y0:y1, x0:x1] = img[y0 - top : y1 - top, x0 - left : x1 - left]
        if record.annotations.polygons is not None:
            polygons += [ring * ratio + (left, top) for ring in record.annotations.polygons.rings()]
    factor, shift = rng.uniform(0.5, 1.5), rng.uniform(0.4, 0.6, 2) * size - size
    matrix = np.array([[factor, 0, shift[0] + size * (1 - factor)], [0, factor, shift[1] + size * (1 - factor)]])
    img = cv2.warpAffine(canvas, matrix, (size, size), borderValue=(114, 114, 114))
    bboxes, masks = [], []
    for polygon in polygons:
        moved = np.clip(polygon @ matrix[:, :2].T + matrix[:, 2], 0, size)
        bbox = np.array([*moved.min(0), *moved.max(0)])
        if (bbox[2:] - bbox[:2] > 2).all():
            full = np.zeros((size, size), np.uint8)
            cv2.fillPoly(full, [moved.astype(np.int32)], 1)
            bboxes.append(bbox)
            masks.append(cv2.resize(full, (size // 4, size // 4)))
    overlap = np.zeros((size // 4, size // 4), np.uint8)
    order = np.argsort([-int(mask.sum()) for mask in masks]) if masks else []
    for number, i in enumerate(order, 1):
        overlap = np.where(masks[i] > 0, np.uint8(number), overlap)
    hue, saturation, value = cv2.split(cv2.cvtColor(img, cv2.COLOR_RGB2HSV))
    steps, gains = np.arange(256), 1 + rng.uniform(-1, 1, 3) * [0.015, 0.7, 0.4]
    tables = (steps * gains[0] % 180, np.clip(steps * gains[1], 0, 255), np.clip(steps * gains[2], 0, 255))
    channels = [cv2.LUT(c, t.astype(np.uint8)) for c, t in zip((hue, saturation, value), tables, strict=True)]
    img = cv2.cvtColor(cv2.merge(channels), cv2.COLOR_HSV2RGB)
    if rng.random() < 0.5:
        img, overlap = np.fliplr(img), np.fliplr(overlap)
    return np.ascontiguousarray(img.transpose(2, 0, 1)), np.array(bboxes), np.ascontiguousarray(overlap)


def ultralytics_way(args: argparse.Namespace, cached: bool) -> Callable[[int], None]:
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import YOLODataset

    settings = get_cfg(overrides=dict(imgsz=args.img_size, task='segment', mode='train'))
    dataset = YOLODataset(
        img_path=str(Path(args.data) / args.images),
        imgsz=args.img_size,
        batch_size=args.batch_size,
        augment=True,
        hyp=settings,
        rect=False,
        cache='ram' if cached else False,
        task='segment',
        data=dict(names=dict(enumerate(COCO80)), channels=3, nc=len(COCO80)),
    )

    def batch(epoch: int) -> None:
        order = np.random.default_rng(epoch).permutation(max(len(dataset), args.batch_size)) % len(dataset)
        YOLODataset.collate_fn([dataset[int(i)] for i in order[: args.batch_size]])

    return batch


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', default='data/coco8-seg', help='a folder with images and YOLO segment labels')
    parser.add_argument('--images', default='images/train', help='the folder of images in it')
    parser.add_argument('--img-size', type=positive, default=640)
    parser.add_argument('--batch-size', type=positive, default=4)
    parser.add_argument('--rounds', type=positive, default=30, help='batches of each way')
    parser.add_argument('--json', type=output_file, help='also write the results there')
    args = parser.parse_args(argv)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)

    makers = {'detkit': detkit_way, 'chain': chain_way}
    if importlib.util.find_spec('ultralytics') is not None:
        makers['ultralytics'] = ultralytics_way
    modes = ('decode', 'cached')
    ways = {(name, mode): make(args, mode == 'cached') for mode in modes for name, make in makers.items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in ways}
    for turn in range(args.rounds + 1):
        for key, batch in ways.items():
            start = time.process_time()
            batch(turn)
            if turn:  # the first warms up
                times[key].append((time.process_time() - start) / args.batch_size * 1e3)
    comparisons = [
        Comparison(f'a mosaic sample with masks, {mode}', 'ms', times['detkit', mode], name, times[name, mode])
        for mode in modes
        for name in makers
        if name != 'detkit'
    ]
    report(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    run(main)
