"""Changes of colour as functions of an RGB image ``(H, W, 3)`` uint8, most of them one look-up a pixel."""

from __future__ import annotations

import cv2
import numpy as np

from detkit.structures.sample import PixelOperation

__all__ = [
    'PIXEL_OPERATIONS',
    'apply_operation',
    'autocontrast',
    'equalize',
    'posterize',
    'scale_brightness',
    'scale_contrast',
    'scale_saturation',
    'sharpen',
    'solarize',
]

# The names of PixelOperation, in the order in which RandAugment counts them.
PIXEL_OPERATIONS = (
    'brightness',
    'saturation',
    'contrast',
    'sharpness',
    'posterize',
    'solarize',
    'autocontrast',
    'equalize',
)

_LEVELS = np.arange(256)
# A weak smoothing kernel: the middle weighs 5, its eight neighbours 1 each.
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def apply_operation(img: np.ndarray, operation: PixelOperation) -> np.ndarray:
    """Return an image changed by an operation; at strength 1 by RandAugment's largest change (arXiv:1909.13719)."""
    strength = operation.strength
    scaling = {
        'brightness': scale_brightness,
        'saturation': scale_saturation,
        'contrast': scale_contrast,
        'sharpness': sharpen,
    }
    if operation.name in scaling:
        return scaling[operation.name](img, 1 + 0.9 * strength)
    if operation.name == 'posterize':
        return posterize(img, 8 - round(4 * abs(strength)))
    if operation.name == 'solarize':
        return solarize(img, 255 * (1 - abs(strength)))
    if operation.name == 'autocontrast':
        return autocontrast(img)
    if operation.name == 'equalize':
        return equalize(img)
    raise ValueError(f'there is no pixel operation {operation.name!r}, only {", ".join(PIXEL_OPERATIONS)}')


def scale_brightness(img: np.ndarray, factor: float) -> np.ndarray:
    """Scale the brightness: 0 gives black, 1 the image."""
    return cv2.LUT(img, _to_table(_LEVELS * factor))


def scale_contrast(img: np.ndarray, factor: float) -> np.ndarray:
    """Scale the contrast: 0 gives the mean grey, 1 the image."""
    mean = round(float(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY).mean()))
    return cv2.LUT(img, _to_table(mean + (_LEVELS - mean) * factor))


def scale_saturation(img: np.ndarray, factor: float) -> np.ndarray:
    """Scale the saturation: 0 gives the grey image, 1 the image."""
    grey = cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(img, factor, grey, 1 - factor, 0)


def sharpen(img: np.ndarray, factor: float) -> np.ndarray:
    """Sharpen: 0 gives a smoothed image, 1 the image; the outermost pixels stay."""
    changed = cv2.addWeighted(img, factor, cv2.filter2D(img, -1, _SMOOTH), 1 - factor, 0)
    changed[[0, -1]], changed[:, [0, -1]] = img[[0, -1]], img[:, [0, -1]]
    return changed


def posterize(img: np.ndarray, bits: int) -> np.ndarray:
    """Keep the highest ``bits`` of each value's 8."""
    return cv2.LUT(img, (_LEVELS & (256 - (1 << (8 - bits)))).astype(np.uint8))


def solarize(img: np.ndarray, threshold: float) -> np.ndarray:
    """Invert the values from ``threshold`` on."""
    return cv2.LUT(img, np.where(threshold > _LEVELS, _LEVELS, 255 - _LEVELS).astype(np.uint8))


def autocontrast(img: np.ndarray) -> np.ndarray:
    """Stretch each channel to 0 … 255."""
    return _by_channel(img, _stretching_table)


def equalize(img: np.ndarray) -> np.ndarray:
    """Make the values of each channel equally frequent."""
    return _by_channel(img, _equalising_table)


def _stretching_table(channel: np.ndarray) -> np.ndarray:
    low, high = int(channel.min()), int(channel.max())
    if low == high:
        return _LEVELS.astype(np.uint8)
    return _to_table((_LEVELS - low) * (255 / (high - low)))


def _equalising_table(channel: np.ndarray) -> np.ndarray:
    counts = np.bincount(channel.ravel(), minlength=256)
    filled = counts[counts > 0]
    step = (counts.sum() - filled[-1]) // 255
    if len(filled) < 2 or step == 0:
        return _LEVELS.astype(np.uint8)
    below = np.cumsum(counts) - counts
    return np.minimum((below + step // 2) // step, 255).astype(np.uint8)


def _by_channel(img: np.ndarray, make_table) -> np.ndarray:
    tables = np.stack([make_table(img[..., c]) for c in range(3)], axis=1)[None]  # (1, 256, 3): one table a channel
    return cv2.LUT(img, tables)


def _to_table(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
