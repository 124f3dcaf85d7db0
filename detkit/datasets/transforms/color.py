"""Photometric transforms; they run behind ``Render``, on the image alone."""

from __future__ import annotations

import cv2
import numpy as np

from detkit.registry import TRANSFORMS

__all__ = ['HSV']


@TRANSFORMS.register_module()
class HSV:
    """Shifts the hue, scales saturation and value by random amounts, by look-up tables.

    Args:
        hue: largest shift either way, as a share of the colour circle.
        saturation: the factor is drawn from [1 - saturation, 1 + saturation].
        value: likewise.
    """

    def __init__(self, hue: float = 0.015, saturation: float = 0.7, value: float = 0.4) -> None:
        self.hue = hue
        self.saturation = saturation
        self.value = value

    def __call__(self, results: dict) -> dict:
        if not (self.hue or self.saturation or self.value):
            return results
        draws = results['rng'].uniform(-1, 1, 3) * [self.hue, self.saturation, self.value]
        return {**results, 'img': shift_hsv(results['img'], *draws)}


def shift_hsv(img: np.ndarray, hue: float, saturation: float, value: float) -> np.ndarray:
    """Args are relative changes; 0 leaves a channel as it is. OpenCV's 8-bit hue counts 180 steps round the circle."""
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
