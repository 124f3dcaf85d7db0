"""Files of pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from detkit.utils.files import replacing


def write_picture(path: Path, img: np.ndarray) -> None:
    """Write ``img (H, W, 3)`` uint8 RGB; the suffix chooses the format. The folder is made.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix == '.jpg' else []
    done, data = cv2.imencode(path.suffix, img[..., ::-1], options)
    if not done:
        raise OSError(f'{path}: a picture of shape {img.shape} cannot be encoded as {path.suffix}')
    with replacing(path) as file:
        file.write(data.tobytes())  # OpenCV's own writing does not report a full disk


def read_picture(path: Path) -> np.ndarray:
    """Return ``(H, W, 3)`` uint8 RGB.

    Raises:
        OSError: it cannot be read.
    """
    img = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if img is None:
        raise OSError(f'{path} cannot be read as a picture')
    return np.ascontiguousarray(img[..., ::-1])


def unique_name(stem: str, suffix: str, taken: set[str]) -> str:
    """Return ``stem + suffix``, or with '-2', '-3', ... where ``taken`` has it; note it there."""
    name, number = stem + suffix, 1
    while name.lower() in taken:
        number += 1
        name = f'{stem}-{number}{suffix}'
    taken.add(name.lower())
    return name
