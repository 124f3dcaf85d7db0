"""The drawn weather pictures, an image folder with four classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from detkit.sample_data.coco8 import write_jpeg
from detkit.sample_data.rendering.skies import WEATHER, draw_weather
from detkit.utils.rng import keyed_rng

_SHAPES = ((224, 288), (240, 240), (288, 224))
_STREAMS = {'train': 30, 'test': 31}  # apart from those of the other drawn sets


def render_weather_pictures(split: str, kind: str, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield landscapes in one kind of weather.

    Args:
        split: 'train' or 'test'.
        kind: 'cloudy', 'rain', 'shine' or 'sunrise'.
        count: how many.
        seed: another seed gives other pictures.

    Yields:
        (H, W, 3) uint8 RGB; the same on every call.
    """
    for i in range(count):
        rng = keyed_rng(seed, _STREAMS[split], list(WEATHER).index(kind), i)
        yield draw_weather(rng, kind, _SHAPES[i % len(_SHAPES)])


def render_weather(root: str | Path, num_train: int = 64, num_test: int = 24, seed: int = 0) -> None:
    """Write a drawn image folder: four classes of weather, each with 64 pictures to train and 24 to test on.

    Makes ``{train,test}/{cloudy,rain,shine,sunrise}/*.jpg``, long side 240 or 288 pixels. Nothing is random: the same
    arguments give the same files.

    Args:
        root: folder to write into, made where it is missing.
        num_train: how many training images a class.
        num_test: how many test images a class.
        seed: another seed gives other pictures.

    Raises:
        OSError: a file can't be written.
    """
    for split, count in (('train', num_train), ('test', num_test)):
        for kind in WEATHER:
            folder = Path(root) / split / kind
            folder.mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(render_weather_pictures(split, kind, count, seed), 1):
                write_jpeg(folder / f'{kind}{i:03d}.jpg', image, 90)
