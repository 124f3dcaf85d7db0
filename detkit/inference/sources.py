"""Sources of images to predict on: paths, folders, patterns, arrays."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detkit.datasets.image_files import IMAGE_SUFFIXES, has_image_suffix, list_images, unread_images
from detkit.datasets.skips import Skip
from detkit.utils.errors import DataError, nearest

Source = str | os.PathLike | np.ndarray | Sequence['Source']


def find_images(source: Source) -> list[str | np.ndarray]:
    """Return the images that ``source`` names, in order.

    Args:
        source: an image file, a folder (searched with its subfolders), a pattern such as ``'photos/*.jpg'`` or
            ``'photos/**/*.png'``, a decoded image ``(H, W, 3)`` uint8 RGB, or a list of any of these.

    Raises:
        DataError: it names no image, or the array is no such image.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
            raise DataError(f'an image given as array must be (H, W, 3) uint8 RGB, not {source.shape} {source.dtype}')
        return [source]
    if isinstance(source, str | os.PathLike):
        return _find_paths(os.fspath(source))
    if isinstance(source, Sequence):
        if not len(source):
            raise DataError('the list of images to predict on is empty')
        return [image for item in source for image in find_images(item)]
    raise DataError(f'cannot predict on a {type(source).__name__}; give a path, folder, pattern, array or list')


def unread_pictures(source: Source) -> list[Skip]:
    """Return the pictures in the folders that ``source`` names which are of kinds that cannot be decoded."""
    if isinstance(source, str | os.PathLike):
        return unread_images(source) if os.path.isdir(source) else []
    return [skip for item in source for skip in unread_pictures(item)] if isinstance(source, Sequence) else []


def _find_paths(path: str) -> list[str | np.ndarray]:
    if os.path.isdir(path):
        return list_images(path)
    if os.path.isfile(path):
        if not has_image_suffix(path):
            raise DataError(f"'{path}' is no image; known are {', '.join(IMAGE_SUFFIXES)}")
        return [path]
    if glob.has_magic(path):
        found = sorted(name for name in glob.glob(path, recursive=True) if os.path.isfile(name))
        images = [name for name in found if has_image_suffix(name)]
        if not images:
            raise DataError(
                f"no image fits the pattern '{path}' ({len(found)} other files do); "
                f'known are {", ".join(IMAGE_SUFFIXES)}'
            )
        return images
    folder = Path(path).parent
    beside = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    raise DataError(f"the source '{path}' does not exist.{nearest(Path(path).name, beside)}")
