"""Datasets with all that annotations can hold, and their comparison after a conversion."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from format_helpers import write_image
from pycocotools import mask as coco_mask

from detkit.datasets import CocoDataset
from detkit.structures.annotations import Annotations

SIZE_WH = (61, 47)  # no power of two: division by it is inexact
CATEGORIES = [
    dict(id=3, name='mânnequin 人', keypoints=['nose', 'left_eye', 'right_eye'], skeleton=[[1, 2], [1, 3]]),
    dict(id=7, name='dog'),
    dict(id=90, name='never seen'),
]


def bitmap_rle(*rects: tuple[int, int, int, int], hole: tuple[int, int, int, int] | None = None) -> dict:
    """An RLE, as a json holds it, of rectangles x0, y0, x1, y1 and a hole in them."""
    mask = np.zeros(SIZE_WH[::-1], np.uint8)
    for x0, y0, x1, y1 in rects:
        mask[y0:y1, x0:x1] = 1
    if hole:
        mask[hole[1] : hole[3], hole[0] : hole[2]] = 0
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {'size': list(rle['size']), 'counts': rle['counts'].decode()}


def write_coco_json(root: Path, images: list[dict], annotations: list[dict], categories: list[dict]) -> Path:
    """Write grey images and ``annotations.json``; an image's id and size are added where they are missing."""
    for number, image in enumerate(images):
        image.update({'width': SIZE_WH[0], 'height': SIZE_WH[1]} | image)
        image.setdefault('id', number + 1)
        write_image(root / 'images' / image['file_name'], image['width'], image['height'])
    for number, annotation in enumerate(annotations):
        annotation.setdefault('id', number + 1)
    content = dict(images=images, annotations=annotations, categories=categories)
    (root / 'annotations.json').write_text(json.dumps(content))
    return root


def write_everything(root: Path) -> Path:
    """A crowd, several rings, a bitmap with a hole, keypoints of each visibility, a box alone, an image without any."""
    x = 1 / 3
    first = [
        dict(bbox=[2.1, 3.7, 20.3, 11.9], segmentation=[[2.1, 3.7, 22.4, 3.7, 22.4, 15.6, 2.1, 15.6]], area=200.25),
        dict(bbox=[0, 0, 50, 40], segmentation=bitmap_rle((0, 0, 50, 40)), iscrowd=1, area=2000),
        dict(
            bbox=[5, 5, 30.5, 30.25],
            segmentation=[[5, 5, 15, 5, 15, 15, 5, 15], [25.5, 25, 35.5, 25.5, 35.5, 35.25, 25.5, 35.25]],
            area=199,
        ),
    ]
    second = [
        dict(bbox=[4, 6, 20, 20], segmentation=bitmap_rle((4, 6, 24, 26), hole=(10, 10, 15, 15)), category_id=7),
        dict(bbox=[x, x, 20 * x, 41 * x], segmentation=[], category_id=7),
        dict(bbox=[40.123, 30.5, 20.877, 16.5], segmentation=[], iscrowd=1, area=12.5, category_id=7),
    ]
    points = [[10.5, 8.25, 2, 12.1, 7.9, 1, 0, 0, 0], [0] * 9, [30.1, 30.2, 2, 5.7, 5.9, 2, 26.6, 26.7, 1]]
    for entry, own in zip(first, points, strict=True):
        entry.update(category_id=3, image_id=501, keypoints=own, num_keypoints=sum(v > 0 for v in own[2::3]))
    for entry in second:
        entry['image_id'] = 77
    images = [
        dict(id=501, file_name='a/été 雪.png'),
        dict(id=77, file_name='b/x.png'),
        dict(id=8, file_name='empty.png'),
    ]
    return write_coco_json(root, images, [*first, *second], CATEGORIES)


def read_coco(root: Path, ann_file: str = 'annotations.json', img_prefix: str = 'images', **kwargs: Any) -> CocoDataset:
    return CocoDataset(ann_file, img_prefix, data_root=str(root), **{'test_mode': True, 'max_skipped': 0.0, **kwargs})


def read_back(root: Path, split: str = 'train', **kwargs: Any) -> CocoDataset:
    """The COCO json that a conversion wrote."""
    return read_coco(root, f'annotations/instances_{split}.json', split, **kwargs)


def by_stem(dataset: Any) -> dict[str, Annotations]:
    found = {os.path.splitext(os.path.basename(record.img_path))[0]: record.annotations for record in dataset.records}
    assert len(found) == len(dataset)
    return found


def rings_of(annotations: Annotations) -> list[list[np.ndarray]]:
    rings: list[list[np.ndarray]] = [[] for _ in range(len(annotations))]
    if annotations.polygons is not None:
        for owner, ring in zip(annotations.polygons.ring_owners, annotations.polygons.rings(), strict=True):
            rings[owner].append(ring)
    return rings


def named(dataset: Any, annotations: Annotations) -> list[str]:
    return [dataset.metainfo['classes'][label] for label in annotations.labels]


def assert_same(first: Any, second: Any, *fields: str) -> None:
    """Check that two datasets have the same images by name, and the same objects of the same classes in each.

    Args:
        first, second: the datasets.
        fields: what of the objects is the same to the last bit; 'rings' and 'rles' among them.
    """
    before, after = by_stem(first), by_stem(second)
    assert before.keys() == after.keys()
    for stem, own in before.items():
        back = after[stem]
        assert named(first, own) == named(second, back), stem
        for name in fields:
            if name == 'rings':
                for a, b in zip(rings_of(own), rings_of(back), strict=True):
                    assert [ring.tolist() for ring in a] == [ring.tolist() for ring in b], stem
            elif name == 'rles':
                assert (own.rles or [None] * len(own)) == (back.rles or [None] * len(back)), stem
            else:
                np.testing.assert_array_equal(getattr(own, name), getattr(back, name), err_msg=f'{stem} {name}')


def kinds(skips: list) -> dict[str, int]:
    """How many entries each reason counts."""
    return {skip.reason: skip.count for skip in skips}
