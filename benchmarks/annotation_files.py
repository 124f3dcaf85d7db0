"""A seeded dataset as large as COCO's train2017, in COCO's and in YOLO's form, for ``read_annotations.py``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

# COCO's train2017.
NUM_IMAGES = 118_287
NUM_BBOXES = 860_001
NUM_CLASSES = 80
# Sizes (h, w) of the images, in turns.
SHAPES = ((480, 640), (640, 480), (427, 640), (640, 426), (375, 500))
# Links that one file may have at most, on common file systems.
_MAX_LINKS = 30_000
# Objects written at a time.
_BLOCK = 20_000


def write_dataset(root: Path, num_images: int = NUM_IMAGES, num_bboxes: int = NUM_BBOXES, seed: int = 0) -> None:
    """Write ``annotations.json``, ``images/train`` and ``labels/train``; of the same size where they are there already.

    All images are links to a few files, so that they take no space.
    """
    stamp = root / f'{num_images}-{num_bboxes}-{seed}'
    if stamp.is_file():
        return
    names = [f'{number:012d}' for number in range(1, num_images + 1)]
    shapes = np.array(SHAPES)[np.arange(num_images) % len(SHAPES)]
    _write_images(root / 'images' / 'train', names)
    rng = np.random.default_rng(seed)
    owners = rng.integers(num_images, size=num_bboxes)
    labels: list[list[str]] = [[] for _ in range(num_images)]
    with open(root / 'annotations.json', 'w') as file:
        images = [
            {'id': number, 'file_name': f'{name}.jpg', 'height': int(h), 'width': int(w), 'license': 1}
            for number, (name, (h, w)) in enumerate(zip(names, shapes, strict=True), 1)
        ]
        file.write(f'{{"info": {{}}, "images": {json.dumps(images)}, "annotations": [')
        for start in range(0, num_bboxes, _BLOCK):
            block = owners[start : start + _BLOCK]
            entries, lines = _draw_objects(rng, start, block, shapes[block])
            file.write((', ' if start else '') + json.dumps(entries)[1:-1])
            for owner, line in zip(block.tolist(), lines, strict=True):
                labels[owner].append(line)
        categories = [{'id': number, 'name': f'class {number}'} for number in range(1, NUM_CLASSES + 1)]
        file.write(f'], "categories": {json.dumps(categories)}}}')
    folder = root / 'labels' / 'train'
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in zip(names, labels, strict=True):
        (folder / f'{name}.txt').write_text('\n'.join(lines))
    stamp.touch()


def _draw_objects(
    rng: np.random.Generator, start: int, owners: np.ndarray, shapes: np.ndarray
) -> tuple[list[dict], list[str]]:
    """Return entries of a COCO json, and lines of label files, of objects with an outline each."""
    sizes = np.minimum(3 + rng.exponential(25, len(owners)).astype(np.int64), 300)
    radii = shapes[:, ::-1] * rng.uniform(0.03, 0.25, (len(owners), 2))
    centres = radii + (shapes[:, ::-1] - 2 * radii) * rng.random((len(owners), 2))
    ends = np.cumsum(sizes)
    angles = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes)
    angles = angles * np.repeat(2 * np.pi / sizes, sizes)
    rays = np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(0.6, 1, (ends[-1], 1))
    points = (np.repeat(centres, sizes, 0) + np.repeat(radii, sizes, 0) * rays).round(2)
    shares = (points / np.repeat(shapes[:, ::-1], sizes, 0)).round(6)
    category_ids = rng.integers(1, NUM_CLASSES + 1, len(owners)).tolist()
    entries, lines = [], []
    rings = zip(np.split(points, ends[:-1]), np.split(shares, ends[:-1]), strict=True)
    for i, (ring, share) in enumerate(rings):
        low, high = ring.min(0), ring.max(0)
        entries.append(
            {
                'segmentation': [ring.ravel().tolist()],
                'area': round(float((high - low).prod()) * 0.7, 4),
                'iscrowd': 0,
                'image_id': int(owners[i]) + 1,
                'bbox': [*low.tolist(), *(high - low).round(2).tolist()],
                'category_id': category_ids[i],
                'id': start + i + 1,
            }
        )
        lines.append(f'{category_ids[i] - 1} ' + ' '.join(map(str, share.ravel().tolist())))
    return entries, lines


def _write_images(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        path, shape = folder / f'{name}.jpg', SHAPES[number % len(SHAPES)]
        path.unlink(missing_ok=True)
        first = number % len(SHAPES) + number // (_MAX_LINKS * len(SHAPES)) * _MAX_LINKS * len(SHAPES)
        if first == number:
            Image.fromarray(np.full((*shape, 3), 120, np.uint8)).save(path, quality=50)
        else:
            os.link(folder / f'{names[first]}.jpg', path)
