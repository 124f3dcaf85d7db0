"""Decoding JPEGs on a GPU (NVIDIA's nvJPEG, which torchvision calls)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import cv2
import numpy as np
import torch

from detkit.datasets.image_files import read_image_header
from detkit.datasets.transforms.loading import check_contents, decode_image

# Decodes the contents of an image file, of the name and with the most pixels that are given, to (h, w, 3) uint8 RGB.
Decode = Callable[[bytes | np.ndarray, str, int], np.ndarray]


def jpeg_decoder(device: torch.device) -> Decode | str:
    """Return a function that decodes JPEGs on a device, or a sentence on why that is not possible.

    Images whose EXIF orientation turns them, other formats, and JPEGs that the device refuses are decoded by the CPU.
    All are checked as ``decode_image`` does, with the same errors.
    """
    try:
        from torchvision.io import ImageReadMode, decode_jpeg
    except ImportError as error:
        return f'torchvision cannot be imported ({error})'

    def on_device(contents: np.ndarray) -> np.ndarray:
        img = decode_jpeg(torch.from_numpy(contents.copy()), mode=ImageReadMode.RGB, device=device)
        return np.ascontiguousarray(img.permute(1, 2, 0).cpu().numpy())  # (3, h, w) -> (h, w, 3)

    def decode(data: bytes | np.ndarray, name: str, max_pixels: int) -> np.ndarray:
        contents = np.frombuffer(data, np.uint8)
        img = None
        if contents[:2].tobytes() == b'\xff\xd8':
            check_contents(contents, name, max_pixels)
            height, width, orientation = read_image_header(contents.data)
            with suppress(RuntimeError):  # four colours, arithmetic coding
                img = on_device(contents) if orientation == 1 else None
        decoded = img is not None and img.shape == (height, width, 3)
        return img if decoded else decode_image(data, name, max_pixels)

    try:
        on_device(cv2.imencode('.jpg', np.zeros((16, 16, 3), np.uint8))[1].ravel())
    except (RuntimeError, ValueError, OSError) as error:
        return f'torchvision decodes none on {device} ({str(error).strip().splitlines()[0] if str(error) else error})'
    return decode
