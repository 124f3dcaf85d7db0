"""A handful of small pictures in every layout that the configs read."""

import json
from pathlib import Path

import cv2
import numpy as np

SIZE = 64
CATEGORIES = ((1, 'person'), (18, 'dog'))  # id in COCO's files, name


def write_tiny_data(root: Path, count: int = 2) -> Path:
    """Write the folders of COCO8, COCO128 and COCO 2017, and a ``data.yaml``, into ``root``; returns ``root``.

    ``weather``, ``imagenet`` and ``custom`` in it are image folders.

    Every picture shows a bright and a dark rectangle; labels are outlines of four corners.
    """
    rng = np.random.default_rng(0)
    annotations: dict[str, list[dict]] = {'train2017': [], 'val2017': []}
    for split in ('train', 'val', 'train2017', 'val2017'):
        folders = [root / 'images' / split, root / 'labels' / split] + [root / split] * (split in annotations)
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = rng.integers(90, 150, (SIZE, SIZE, 3), np.uint8)
            lines = []
            for label, (category, _) in enumerate(CATEGORIES):
                x, y = rng.integers(2, 30, 2)
                w, h = rng.integers(16, 30, 2)
                image[y : y + h, x : x + w] = 230 if label else 20
                ring = np.array([x, y, x + w, y, x + w, y + h, x, y + h], float)
                lines.append(' '.join([str((0, 16)[label]), *(f'{v / SIZE:.6f}' for v in ring)]))
                if split in annotations:
                    annotations[split].append(
                        dict(
                            id=len(annotations[split]) + 1,
                            image_id=number + 1,
                            category_id=category,
                            iscrowd=0,
                            bbox=[int(x), int(y), int(w), int(h)],
                            area=int(w * h),
                            segmentation=[ring.tolist()],
                        )
                    )
            name = f'{number:012d}'
            (root / 'labels' / split / f'{name}.txt').write_text('\n'.join(lines) + '\n')
            for folder in (root / 'images' / split, *([root / split] if split in annotations else [])):
                cv2.imwrite(str(folder / f'{name}.jpg'), image)
    _write_coco(root, annotations, count)
    _write_image_folders(root)
    return root


def _write_coco(root: Path, annotations: dict[str, list[dict]], count: int) -> None:
    from detkit.datasets.class_names import COCO80, COCO_CATEGORY_IDS

    names = '\n'.join(f'  {number}: {name}' for number, name in enumerate(COCO80))
    (root / 'data.yaml').write_text(f'train: images/train\nval: images/val\nnames:\n{names}\n')
    categories = [dict(id=i, name=name) for i, name in zip(COCO_CATEGORY_IDS, COCO80, strict=True)]
    images = [dict(id=n + 1, file_name=f'{n:012d}.jpg', height=SIZE, width=SIZE) for n in range(count)]
    (root / 'annotations').mkdir()
    for split, entries in annotations.items():
        content = dict(images=images, annotations=entries, categories=categories)
        (root / 'annotations' / f'instances_{split}.json').write_text(json.dumps(content))


def _write_image_folders(root: Path) -> None:
    image = root / 'images' / 'train' / f'{0:012d}.jpg'
    weather = ('cloudy', 'rain', 'shine', 'sunrise')
    for name, splits, classes in (
        ('weather', ('train', 'test'), weather),
        ('custom', ('train', 'val'), ('cat', 'dog')),
    ):
        for split in splits:
            for label in classes:
                folder = root / name / split / label
                folder.mkdir(parents=True)
                (folder / '0.jpg').symlink_to(image)
    (root / 'imagenet' / 'train').mkdir(parents=True)
    for number in range(1000):  # links alone, as so many folders take seconds to write and to remove
        (root / 'imagenet' / 'train' / f'n{number:08d}').symlink_to(root / 'custom' / 'train' / 'cat')
    (root / 'imagenet' / 'val').symlink_to(root / 'imagenet' / 'train')
