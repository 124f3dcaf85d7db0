"""Small pictures with every pixel labelled, in COCO's panoptic form."""

import json
from pathlib import Path

import cv2
import numpy as np

# Id in COCO's files, name, whether it is a thing.
CATEGORIES = ((1, 'person', 1), (18, 'dog', 1), (187, 'sky-other-merged', 0), (193, 'grass-merged', 0))
COLOURS = {1: (230, 40, 40), 18: (40, 40, 230), 187: (120, 190, 250), 193: (60, 160, 60)}
SHAPE = (48, 64)


def write_tiny_panoptic(root: Path, count: int = 2) -> Path:
    """Write ``count`` images of train2017 and val2017 with panoptic annotations into ``root``; returns ``root``.

    Sky above grass; on them two people and a dog, and a strip of no segment at the bottom. The second image of each
    split has a crowd of people too. Ids use all three colours of a PNG.
    """
    rng = np.random.default_rng(3)
    (root / 'annotations').mkdir(parents=True, exist_ok=True)
    for split in ('train2017', 'val2017'):
        folder = root / 'annotations' / f'panoptic_{split}'
        for path in (root / split, folder):
            path.mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for number in range(count):
            ids, segments = _scene(rng, crowd=number == 1)
            colours = np.full((*SHAPE, 3), 90, np.uint8)
            for segment in segments:
                colours[ids == segment['id']] = COLOURS[segment['category_id']]
            name = f'{number + 1:012d}'
            img = np.clip(colours + rng.integers(-12, 13, colours.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(root / split / f'{name}.png'), img[..., ::-1])
            png = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)
            cv2.imwrite(str(folder / f'{name}.png'), png[..., ::-1])
            images.append(dict(id=number + 1, file_name=f'{name}.png', height=SHAPE[0], width=SHAPE[1]))
            annotations.append(dict(image_id=number + 1, file_name=f'{name}.png', segments_info=segments))
        categories = [dict(id=i, name=name, isthing=isthing) for i, name, isthing in CATEGORIES]
        content = dict(images=images, annotations=annotations, categories=categories)
        (root / 'annotations' / f'panoptic_{split}.json').write_text(json.dumps(content))
    return root


def _scene(rng: np.random.Generator, crowd: bool) -> tuple[np.ndarray, list[dict]]:
    """``(H, W)`` ids, and the segments as the json lists them."""
    height, width = SHAPE
    ids = np.zeros(SHAPE, np.int64)
    horizon = int(rng.integers(16, 24))
    chosen: dict[int, tuple[int, bool]] = {}

    def draw(category: int, rows: slice, columns: slice, is_crowd: bool = False) -> None:
        number = int(rng.integers(1, 1 << 24))
        ids[rows, columns] = number
        chosen[number] = (category, is_crowd)

    draw(187, slice(0, horizon), slice(0, width))
    draw(193, slice(horizon, height - 3), slice(0, width))
    for category, left in ((1, 4), (1, 24), (18, 44)):
        top, left = int(rng.integers(8, 20)), left + int(rng.integers(0, 4))
        draw(category, slice(top, top + 18), slice(left, left + 10))
    if crowd:
        draw(1, slice(0, 8), slice(0, 30), is_crowd=True)
    segments = []
    for number, (category, is_crowd) in chosen.items():
        rows, columns = np.nonzero(ids == number)
        x, y = int(columns.min()), int(rows.min())
        bbox = [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y]
        segments.append(dict(id=number, category_id=category, bbox=bbox, area=len(rows), iscrowd=int(is_crowd)))
    return ids, segments
