"""Photometric transforms; they run behind ``Render``, on the image alone."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from detkit.datasets.transforms.photometry import scale_brightness, scale_contrast, scale_saturation
from detkit.registry import TRANSFORMS
from detkit.structures.sample import Sample

__all__ = ['ColorJitter', 'RandomHSV']


@TRANSFORMS.register_module()
class RandomHSV:
    """Shift the hue and scale saturation and value by random amounts, by look-up tables.

    Args:
        hue: largest shift either way, as a share of the colour circle.
        saturation: the factor is drawn from [1 - saturation, 1 + saturation].
        value: likewise.
    """

    stage = 'pixels'

    def __init__(self, hue: float = 0.015, saturation: float = 0.7, value: float = 0.4) -> None:
        self.hue = hue
        self.saturation = saturation
        self.value = value

    def __call__(self, sample: Sample) -> Sample:
        if not (self.hue or self.saturation or self.value):
            return sample
        draws = sample.rng.uniform(-1, 1, 3) * [self.hue, self.saturation, self.value]
        return replace(sample, img=shift_hsv(sample.img, *draws))


def shift_hsv(img: np.ndarray, hue: float, saturation: float, value: float) -> np.ndarray:
    """Change each channel by a relative amount, 0 for none. OpenCV's 8-bit hue counts 180 steps round the circle."""
    steps = np.arange(256)
    tables = np.stack(
        [
            np.round(steps + hue * 180) % 180,
            np.clip(steps * (1 + saturation), 0, 255),
            np.clip(steps * (1 + value), 0, 255),
        ],
        axis=1,
    ).astype(np.uint8)[None]  # (1, 256, 3): one table a channel
    hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2RGB)


@TRANSFORMS.register_module()
class ColorJitter:
    """Scale brightness, contrast and saturation and shift the hue, by random amounts in random order.

    Args:
        brightness, contrast, saturation: the factor is drawn from [1 - x, 1 + x], x at most 1.
        hue: largest shift either way, as a share of the colour circle, at most .5.
    """

    stage = 'pixels'

    def __init__(
        self, brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.4, hue: float = 0.0
    ) -> None:
        for name, value, most in (
            ('brightness', brightness, 1),
            ('contrast', contrast, 1),
            ('saturation', saturation, 1),
            ('hue', hue, 0.5),
        ):
            if not 0 <= value <= most:
                raise ValueError(f'ColorJitter({name}={value}): expected a value from 0 to {most}')
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue

    def __call__(self, sample: Sample) -> Sample:
        rng, img = sample.rng, sample.img
        changes = (
            (self.brightness, lambda img, draw: scale_brightness(img, 1 + draw)),
            (self.contrast, lambda img, draw: scale_contrast(img, 1 + draw)),
            (self.saturation, lambda img, draw: scale_saturation(img, 1 + draw)),
            (self.hue, lambda img, draw: shift_hsv(img, draw, 0, 0)),
        )
        draws = rng.uniform(-1, 1, len(changes))
        for number in rng.permutation(len(changes)):
            largest, change = changes[number]
            if largest:
                img = change(img, largest * draws[number])
        return replace(sample, img=img)
