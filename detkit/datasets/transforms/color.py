"""Photometric transforms; they run behind ``Render``, on the image alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from detkit.datasets.transforms.photometry import scale_brightness, scale_contrast, scale_saturation
from detkit.registry import TRANSFORMS
from detkit.structures.sample import Sample

__all__ = ['ColorJitter', 'RandomHSV', 'RandomPhotometricDistort']


@TRANSFORMS.register_module()
class RandomHSV:
    """Shift the hue and scale saturation and value by random amounts, by look-up tables.

    Args:
        hue: largest shift either way, as a share of the colour circle.
        saturation: the factor is drawn from [1 - saturation, 1 + saturation].
        value: likewise.
        additive: shift saturation and value by up to these shares of the full range instead, as YOLOX does.
        prob: the probability of each of the three changes.
    """

    stage = 'pixels'

    def __init__(
        self,
        hue: float = 0.015,
        saturation: float = 0.7,
        value: float = 0.4,
        additive: bool = False,
        prob: float = 1.0,
    ) -> None:
        self.hue = hue
        self.saturation = saturation
        self.value = value
        self.additive = additive
        self.prob = prob

    def __call__(self, sample: Sample) -> Sample:
        if not (self.hue or self.saturation or self.value):
            return sample
        draws = sample.rng.uniform(-1, 1, 3) * [self.hue, self.saturation, self.value]
        if self.prob < 1:
            draws *= sample.rng.random(3) < self.prob
        if sample.drawing is not None:
            return replace(sample, drawing=replace(sample.drawing, hsv_tables=hsv_tables(*draws, self.additive)))
        return replace(sample, img=shift_hsv(sample.img, *draws, self.additive))


def shift_hsv(img: np.ndarray, hue: float, saturation: float, value: float, additive: bool = False) -> np.ndarray:
    """Change each channel by a relative amount, 0 for none. OpenCV's 8-bit hue counts 180 steps round the circle."""
    tables = hsv_tables(hue, saturation, value, additive).T[None]  # (1, 256, 3): one table a channel
    hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2RGB)


def hsv_tables(hue: float, saturation: float, value: float, additive: bool = False) -> np.ndarray:
    """Return ``(3, 256)`` uint8, the new hue, saturation and value of each old one.

    Saturation and value are changed by a share of themselves or, if ``additive``, of 255.
    """
    steps = np.arange(256)
    shifted = np.round(steps + hue * 180) % 180
    changed = (np.clip(steps + (255 if additive else steps) * amount, 0, 255) for amount in (saturation, value))
    return np.stack([shifted, *changed]).astype(np.uint8)


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


@TRANSFORMS.register_module()
class RandomPhotometricDistort:
    """Change brightness, contrast, saturation and hue and exchange the channels, each with a probability (SSD's).

    Contrast is changed before saturation and hue or after them. The defaults are torchvision's, with which RT-DETR and
    D-FINE train.

    Args:
        prob: the probability of each change.
        brightness, contrast, saturation: the factors are drawn from these ranges.
        hue: largest shift either way, as a share of the colour circle, at most .5.
    """

    stage = 'pixels'

    def __init__(
        self,
        prob: float = 0.5,
        brightness: Sequence[float] = (0.875, 1.125),
        contrast: Sequence[float] = (0.5, 1.5),
        saturation: Sequence[float] = (0.5, 1.5),
        hue: float = 0.05,
    ) -> None:
        for name, limits in (('brightness', brightness), ('contrast', contrast), ('saturation', saturation)):
            if not 0 <= limits[0] <= limits[1]:
                raise ValueError(f'RandomPhotometricDistort({name}={tuple(limits)}): expected 0 <= lowest <= highest')
        if not 0 <= hue <= 0.5:
            raise ValueError(f'RandomPhotometricDistort(hue={hue}): expected a value from 0 to 0.5')
        self.prob = prob
        self.brightness = tuple(brightness)
        self.contrast = tuple(contrast)
        self.saturation = tuple(saturation)
        self.hue = hue

    def __call__(self, sample: Sample) -> Sample:
        rng, img = sample.rng, sample.img
        applies = rng.random(5) < self.prob
        contrast_first = rng.random() < 0.5
        ranges = self.brightness, self.contrast, self.saturation, (-self.hue, self.hue)
        brightness, contrast, saturation, hue = (rng.uniform(*limits) for limits in ranges)
        channels = rng.permutation(3)
        if applies[0]:
            img = scale_brightness(img, brightness)
        if applies[1] and contrast_first:
            img = scale_contrast(img, contrast)
        if applies[2]:
            img = scale_saturation(img, saturation)
        if applies[3]:
            img = shift_hsv(img, hue, 0, 0)
        if applies[1] and not contrast_first:
            img = scale_contrast(img, contrast)
        if applies[4]:
            img = np.ascontiguousarray(img[..., channels])
        return replace(sample, img=img)
