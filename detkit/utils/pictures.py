"""Files of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from detkit.utils.errors import ConfigError
from detkit.utils.files import replacing


def check_spared(path: Path, source: str) -> None:
    """Raise ``ConfigError`` where a picture or video of ``source`` would be written over ``source`` itself."""
    if os.path.isfile(path) and os.path.isfile(source) and os.path.samefile(path, source):
        raise ConfigError(f'{path} would be written over the file that it shows; choose another folder or name')


def check_folder_spares(out_dir: Path, paths: Iterable[str | os.PathLike], suffix: str = '.jpg') -> None:
    """Check that no file of ``paths`` lies where files named after all of them, with a suffix, are written.

    Raises:
        ConfigError: one does; or ``out_dir`` is a file.
    """
    if out_dir.is_file():
        raise ConfigError(f'{out_dir} is a file; pictures of several images are written into a folder')
    if not out_dir.is_dir():
        return
    is_there: dict[str, bool] = {}  # by folder
    for path in paths:
        folder, name = os.path.split(path)
        if not name.lower().endswith(suffix):
            continue
        if folder not in is_there:
            is_there[folder] = os.path.isdir(folder or '.') and os.path.samefile(folder or '.', out_dir)
        if is_there[folder] and os.path.isfile(path):
            raise ConfigError(
                f'{path} lies in the folder for the results, {out_dir}, and could be written over by a picture of what '
                'was found; choose another folder'
            )


def write_picture(path: Path, img: np.ndarray, source: str = '') -> None:
    """Write ``img (H, W, 3)`` uint8 RGB; the suffix chooses the format. The folder is made.

    Args:
        path: the file.
        img: the picture.
        source: the file of the image that the picture shows, which is never written over.

    Raises:
        ConfigError: ``path`` is ``source``.
        OSError: it cannot be written.
    """
    write_encoded(path, encode_picture(path, img), source)


def encode_picture(path: Path, img: np.ndarray) -> bytes:
    """Return the content of a file of ``img (H, W, 3)`` uint8 RGB; the suffix of ``path`` chooses the format.

    Raises:
        OSError: it cannot be encoded.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix == '.jpg' else []
    done, data = cv2.imencode(path.suffix, img[..., ::-1], options)
    if not done:
        raise OSError(f'{path}: a picture of shape {img.shape} cannot be encoded as {path.suffix}')
    return data.tobytes()


def write_encoded(path: Path, data: bytes, source: str = '') -> None:
    """Write what ``encode_picture`` returned; arguments and errors are those of ``write_picture``."""
    check_spared(path, source)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(data)  # OpenCV's own writing does not report a full disk


def read_picture(path: Path) -> np.ndarray:
    """Return ``(H, W, 3)`` uint8 RGB.

    Raises:
        OSError: it cannot be read.
    """
    data = np.fromfile(path, np.uint8)  # OpenCV's own reading crashes on a name that is no UTF-8
    img = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if img is None:
        raise OSError(f'{path} cannot be read as a picture')
    return np.ascontiguousarray(img[..., ::-1])


class UniqueNames:
    """Names of files in one folder, of which none is given twice, whether or not it tells capitals apart."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}  # the number to try next, by the name in small letters

    @property
    def count(self) -> int:
        """The number of names that were given."""
        return len(self._next)

    def name(self, stem: str, suffix: str = '') -> str:
        """Return ``stem + suffix``, with '-2', '-3', ... in between where it was given before."""
        key = f'{stem}{suffix}'.lower()
        if key not in self._next:
            self._next[key] = 2
            return stem + suffix
        number = self._next[key]
        while (name := f'{stem}-{number}{suffix}').lower() in self._next:
            number += 1
        self._next[key], self._next[name.lower()] = number + 1, 2
        return name
