"""Colours of classes, the same in every picture."""

from __future__ import annotations

import colorsys
from functools import lru_cache

# Hues step by the golden ratio, so that classes close in number, which often share a picture, differ most.
_GOLDEN = 0.6180339887498949
_LEVELS = ((0.85, 0.95), (0.65, 1.0), (0.95, 0.78))  # saturation and value, in turn


@lru_cache(maxsize=4096)
def class_colour(label: int) -> tuple[int, int, int]:
    """Return the RGB colour of a class, which is visible on photographs."""
    saturation, value = _LEVELS[label % len(_LEVELS)]
    red, green, blue = colorsys.hsv_to_rgb((0.02 + label * _GOLDEN) % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_colour(background: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return black or white, whichever is more legible on ``background``."""
    red, green, blue = background
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
