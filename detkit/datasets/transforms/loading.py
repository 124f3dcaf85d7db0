"""Reading images: RGB, upright, whole."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from detkit.registry import TRANSFORMS
from detkit.structures.sample import Sample
from detkit.structures.scene import Scene
from detkit.utils.errors import DataError

__all__ = ['LoadImageFromFile', 'UnreadableImageError', 'read_image']


class UnreadableImageError(DataError):
    """An image that is missing, broken, cut short, or not the one its annotations describe."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f'{path}: {reason}')
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple:
        return type(self), (self.path, self.reason)


@TRANSFORMS.register_module()
class LoadImageFromFile:
    """Start the scene: the decoded image as its only tile, where it is not decoded yet.

    Raises:
        UnreadableImageError: the dataset answers it by a recorded skip.
    """

    stage = 'load'

    def __call__(self, sample: Sample) -> Sample:
        record, images = sample.record, sample.images
        img = images.get(record.img_path)
        if img is None:
            img = images[record.img_path] = read_image(record.img_path)
        if record.ori_shape is not None and img.shape[:2] != tuple(record.ori_shape):
            found, stated = 'x'.join(map(str, img.shape[1::-1])), 'x'.join(map(str, record.ori_shape[::-1]))
            raise UnreadableImageError(record.img_path, f'is {found} pixels, but its annotations say {stated}')
        return replace(sample, scene=Scene.of_image(img, record.annotations), ori_shape=img.shape[:2])


def read_image(path: str) -> np.ndarray:
    """Decode a file to ``(h, w, 3)`` uint8 RGB, turned upright by its EXIF orientation.

    Raises:
        UnreadableImageError: the file is missing, no image, or ends early. (Decoders fill the missing part of a JPEG
            with grey and call that a success, so the ends of files are checked here.)
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UnreadableImageError(path, f'cannot be opened: {error.strerror or error}') from error
    if data.size == 0:
        raise UnreadableImageError(path, 'is empty')
    if is_truncated(data.data):
        raise UnreadableImageError(path, 'is truncated: the end of the file is missing')
    flag = getattr(cv2, 'IMREAD_COLOR_RGB', None)  # since OpenCV 4.11
    try:
        img = cv2.imdecode(data, cv2.IMREAD_COLOR if flag is None else flag)
    except cv2.error as error:
        raise UnreadableImageError(path, f'cannot be decoded: {error.err or error}') from error
    if img is None:
        raise UnreadableImageError(path, 'is no image that OpenCV can decode')
    return cv2.cvtColor(img, cv2.COLOR_BGR2RGB) if flag is None else img


def is_truncated(data: memoryview) -> bool:
    """Return whether a JPEG, PNG, WebP or BMP file lacks its end (data may follow it); False for other formats."""
    head = bytes(data[:16])
    if head.startswith(b'\xff\xd8'):
        return bytes(data[-2:]) != b'\xff\xd9' and not _has_jpeg_end(bytes(data))
    if head.startswith(b'\x89PNG\r\n\x1a\n'):
        return b'IEND' not in bytes(data[-12:]) and b'IEND' not in bytes(data)
    if head.startswith(b'RIFF') and head[8:12] == b'WEBP':
        return len(data) < int.from_bytes(head[4:8], 'little') + 8
    if head.startswith(b'BM'):
        return len(data) < int.from_bytes(head[2:6], 'little')
    return False


def _has_jpeg_end(data: bytes) -> bool:
    """Look for the end marker behind the header segments, which may hold a thumbnail with an end of its own."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xDA:  # start of scan: from here on 0xFFD9 occurs only as the end marker
            return data.find(b'\xff\xd9', position) >= 0
        position += 1 if marker == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4], 'big')
    return False
