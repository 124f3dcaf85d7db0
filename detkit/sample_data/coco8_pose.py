"""The drawn people that replace COCO8-pose where it cannot be downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from detkit.sample_data.coco8 import write_split
from detkit.sample_data.rendering.crowd import SeenPerson, draw_crowd
from detkit.sample_data.rendering.stages import STAGES
from detkit.utils.rng import keyed_rng

_SHAPES = ((480, 640), (640, 480), (480, 640), (560, 560))
_STREAMS = {'train': 10, 'val': 11}  # apart from those of the other drawn sets


def render_crowds(split: str, count: int, seed: int = 0) -> Iterator[tuple[np.ndarray, list[SeenPerson]]]:
    """Yield pictures of two to five people, and the people in them.

    Args:
        split: 'train' or 'val'.
        count: how many pictures.
        seed: another seed gives other pictures.

    Yields:
        (H, W, 3) uint8 RGB and its people; the same on every call.
    """
    before = 0
    for i in range(count):
        rng = keyed_rng(seed, _STREAMS[split], i)
        stage = STAGES[i % len(STAGES)](rng, _SHAPES[i // 2 % len(_SHAPES)])
        size = int(rng.integers(2, 6))
        yield draw_crowd(rng, stage, size, close=i % 6 == 4, before=before)
        before += size


def pose_lines(shape: tuple[int, int], people: list[SeenPerson]) -> list[str]:
    """Return a YOLO-pose line a person: 0, cx cy w h, and 17 times x y visibility, divided by width and height."""
    h, w = shape
    lines = []
    for person in people:
        x0, y0, x1, y1 = person.bbox
        values = [(x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h]
        words = ['0', *(f'{value:.6f}' for value in values)]
        for x, y, seen in person.keypoints:
            words += [f'{x / w:.6f}', f'{y / h:.6f}', str(int(seen))]
        lines.append(' '.join(words))
    return lines


def render_coco8_pose(root: str | Path, num_train: int = 48, num_val: int = 8, seed: int = 0) -> None:
    """Write a drawn dataset with the layout of COCO8-pose, but more pictures: 48 to train on, 8 to validate on.

    Eight do not teach a network that starts from nothing where hands and feet are. Makes ``images/{train,val}/*.jpg``,
    long side 560 or 640 pixels, and ``labels/{train,val}/*.txt``, a person a line with COCO's 17 keypoints. Nothing is
    random: the same arguments give the same files.

    Args:
        root: folder to write into, made where it is missing.
        num_train: how many training images.
        num_val: how many validation images.
        seed: another seed gives other pictures.

    Raises:
        OSError: a file can't be written.
    """
    for split, first, count in (('train', 1, num_train), ('val', 1 + num_train, num_val)):
        crowds = render_crowds(split, count, seed)
        write_split(root, split, first, ((image, pose_lines(image.shape[:2], people)) for image, people in crowds))
