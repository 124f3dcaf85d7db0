"""The drawn aerial pictures that replace DOTA8 where it cannot be downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from detkit.datasets.class_names import DOTA15
from detkit.sample_data.coco8 import write_split
from detkit.sample_data.rendering.aerial import SeenObject
from detkit.sample_data.rendering.aerial_scenes import SCENES
from detkit.utils.rng import keyed_rng

_SIZE = 640
_STREAMS = {'train': 20, 'val': 21}  # apart from those of the other drawn sets


def render_surveys(split: str, count: int, seed: int = 0) -> Iterator[tuple[np.ndarray, list[SeenObject]]]:
    """Yield pictures from above and the objects in them, eight kinds of surroundings in turn.

    Args:
        split: 'train' or 'val'.
        count: how many pictures.
        seed: another seed gives other pictures.

    Yields:
        (H, W, 3) uint8 RGB and its objects; the same on every call.
    """
    for i in range(count):
        yield SCENES[i % len(SCENES)](keyed_rng(seed, _STREAMS[split], i), _SIZE).finish()


def obb_lines(shape: tuple[int, int], objects: list[SeenObject]) -> list[str]:
    """Return a YOLO-obb label line an object: class index, then four corners x y divided by width and height.

    Corners run clockwise from the front left one. Those of an object at the border may lie outside [0, 1].
    """
    h, w = shape
    return [
        ' '.join([str(DOTA15.index(item.name)), *(f'{value:.6f}' for value in (item.corners / (w, h)).ravel())])
        for item in objects
    ]


def render_dota8(root: str | Path, num_train: int = 32, num_val: int = 8, seed: int = 0) -> None:
    """Write a drawn dataset with the layout of DOTA8, but more pictures: 32 to train on, 8 to validate on.

    Makes ``images/{train,val}/*.jpg``, 640 x 640 pixels, and ``labels/{train,val}/*.txt``, an object a line with DOTA
    v1's class indices 0-14, of which ten occur. Nothing is random: the same arguments give the same files.

    Args:
        root: folder to write into, made where it is missing.
        num_train: how many training images.
        num_val: how many validation images.
        seed: another seed gives other pictures.

    Raises:
        OSError: a file can't be written.
    """
    for split, first, count in (('train', 1, num_train), ('val', 1 + num_train, num_val)):
        surveys = render_surveys(split, count, seed)
        write_split(root, split, first, ((image, obb_lines(image.shape[:2], objects)) for image, objects in surveys))
