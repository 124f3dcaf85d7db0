"""Decoding JPEGs at a part of their size, which takes a fraction of the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from detkit.datasets.image_files import read_image_header
from detkit.datasets.transforms.loading import check_contents, decode_image
from detkit.structures.scene import scale_matrix, translation_matrix

__all__ = ['DecodedImage', 'decode_reduced']

_FLAGS = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
# EXIF orientations that let the upright image's columns, or rows, run against the stored pixels they come from.
_MIRRORED_COLUMNS, _MIRRORED_ROWS = (2, 3, 6, 7), (3, 4, 7, 8)


class DecodedImage(NamedTuple):
    """An image, decoded whole or at a part of its size.

    Attributes:
        img: ``(h, w, 3)`` uint8 RGB, upright.
        ori_shape: (H, W) of the whole image, upright.
        matrix: ``(3, 3)`` pixels of the whole image -> pixels of ``img``; None where that is the whole image.
    """

    img: np.ndarray
    ori_shape: tuple[int, int]
    matrix: np.ndarray | None = None

    @classmethod
    def whole(cls, img: np.ndarray) -> DecodedImage:
        return cls(img, img.shape[:2])


def decode_reduced(
    data: np.ndarray | bytes, name: str, divisor_of: Callable[[tuple[int, int]], int], max_pixels: int
) -> DecodedImage:
    """Decode the contents of an image file, a JPEG at a half, a quarter or an eighth of its size where that is enough.

    A pixel is then the mean of a square of the image's, of the part inside the image at its border.

    Args:
        data: the contents.
        name: the name, for errors.
        divisor_of: returns 1, 2, 4 or 8 for the (H, W) of a JPEG.
        max_pixels: see ``decode_image``, whose errors are the same.
    """
    if bytes(data[:2]) != b'\xff\xd8':
        return DecodedImage.whole(decode_image(data, name, max_pixels))
    contents = np.frombuffer(data, np.uint8)
    check_contents(contents, name, max_pixels)
    height, width, orientation = read_image_header(contents.data)
    ori_shape = (width, height) if orientation > 4 else (height, width)
    divisor = divisor_of(ori_shape)
    small = None if divisor == 1 else _decode(contents, _FLAGS[divisor])
    if small is None or small.shape[:2] != tuple(-(-side // divisor) for side in ori_shape):
        return DecodedImage.whole(decode_image(data, name, max_pixels))
    # The last square of a stored row or column may reach beyond the image; mirrored, it is the first.
    left, top = (
        small.shape[axis] * divisor - ori_shape[axis] if orientation in mirrored else 0
        for axis, mirrored in ((1, _MIRRORED_COLUMNS), (0, _MIRRORED_ROWS))
    )
    matrix = scale_matrix(1 / divisor, 1 / divisor) @ translation_matrix(left, top)
    return DecodedImage(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), ori_shape, matrix)


def _decode(contents: np.ndarray, flags: int) -> np.ndarray | None:
    """Return what OpenCV decodes, BGR; None where it cannot."""
    try:
        return cv2.imdecode(contents, flags)
    except cv2.error:
        return None
