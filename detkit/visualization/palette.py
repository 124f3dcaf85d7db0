"""Colours of classes, the same in every picture, and of the instances of a class."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import get_args

from detkit.visualization.drawing_options import ColorBy

# Hues step by the golden ratio, so that classes close in number, which often share a picture, differ most.
_GOLDEN = 0.6180339887498949
_LEVELS = ((0.85, 0.95), (0.65, 1.0), (0.95, 0.78))  # saturation and value, in turn


@lru_cache(maxsize=4096)
def class_colour(label: int) -> tuple[int, int, int]:
    """Return the RGB colour of a class, which is visible on photographs."""
    saturation, value = _LEVELS[label % len(_LEVELS)]
    red, green, blue = colorsys.hsv_to_rgb((0.02 + label * _GOLDEN) % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def object_colours(labels: Sequence[int], color_by: ColorBy) -> list[tuple[int, int, int]]:
    """Return the RGB colour of each object of an image.

    Args:
        labels: the objects' classes.
        color_by: 'class' gives each object its class's colour. 'instance' gives it to the first object of each class,
            and to each further one the next colour that nothing else in the image has.

    Raises:
        ValueError: another ``color_by``.
    """
    if color_by not in get_args(ColorBy):
        raise ValueError(f"color_by must be 'class' or 'instance', not {color_by!r}")
    if color_by == 'class':
        return [class_colour(label) for label in labels]
    taken, seen = set(labels), set()
    unused = (number for number in count() if number not in taken)
    numbers = []
    for label in labels:
        numbers.append(next(unused) if label in seen else label)
        seen.add(label)
    return [class_colour(number) for number in numbers]


def text_colour(background: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return black or white, whichever is more legible on ``background``."""
    red, green, blue = background
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
