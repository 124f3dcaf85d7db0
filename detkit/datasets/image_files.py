"""Finding the images of a dataset and reading their sizes without decoding them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from detkit.utils.errors import DataError

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')

_EXIF_ORIENTATION = 274
# Files a thread reads at a time: headers are small, so the cost to spread is the latency of a disk or a network.
_BLOCK = 256


def list_images(folder: str | os.PathLike) -> list[str]:
    """Return all images below ``folder``, sorted by path. Hidden files and folders are left out.

    Raises:
        DataError: ``folder`` is missing or holds no image.
    """
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise DataError(f'the image folder {folder!r} does not exist')
    found = images_below(folder)
    if not found:
        raise DataError(f'the image folder {folder!r} holds no image ({", ".join(IMAGE_SUFFIXES)})')
    return found


def images_below(folder: str | os.PathLike) -> list[str]:
    """Return all images below ``folder`` as ``list_images`` does, possibly none."""
    found = []
    for parent, folders, names in os.walk(os.fspath(folder), followlinks=True):
        folders[:] = [name for name in folders if not name.startswith('.')]
        found += [os.path.join(parent, name) for name in names if is_image_name(name)]
    return sorted(found)


def is_image_name(name: str) -> bool:
    """Return whether a file of this name counts as an image."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith('.')


def read_list(list_file: str | os.PathLike, root: str | os.PathLike) -> list[str]:
    """Return the images named in a text file, one a line; relative to the file's folder (``./``) or to ``root``.

    Raises:
        DataError: the file is no text, or names no image.
    """
    list_file = Path(list_file)
    try:
        lines = [line.strip() for line in list_file.read_text(encoding='utf-8').splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(f'{str(list_file)!r} is neither a folder nor a text file that lists images') from error
    paths = []
    for line in filter(None, lines):
        beside = list_file.parent / line
        paths.append(str(beside if line.startswith('./') or beside.exists() else Path(root) / line))
    if not paths:
        raise DataError(f'the image list {str(list_file)!r} names no image')
    return paths


def read_image_size(path: str) -> tuple[int, int]:
    """Return (h, w) of the upright image, from the file's header and its EXIF orientation.

    Raises:
        OSError: the file is missing or is no image that can be identified.
    """
    try:
        with Image.open(path) as image:
            # Some versions of Pillow swap ``size`` of a turned TIFF themselves; its tags give the stored size.
            width, height = (image.tag_v2[tag] for tag in (256, 257)) if image.format == 'TIFF' else image.size
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:  # raised by Pillow for broken headers
        raise OSError(str(error)) from error
    return (width, height) if turned else (height, width)


def read_image_sizes(paths: Sequence[str]) -> list[tuple[int, int] | OSError]:
    """Run ``read_image_size`` on many files at once; return the error in place of a size where it fails."""

    def read_block(start: int) -> list[tuple[int, int] | OSError]:
        sizes: list[tuple[int, int] | OSError] = []
        for path in paths[start : start + _BLOCK]:
            try:
                sizes.append(read_image_size(path))
            except OSError as error:
                sizes.append(error)
        return sizes

    with ThreadPoolExecutor(max_workers=8) as pool:
        return [size for block in pool.map(read_block, range(0, len(paths), _BLOCK)) for size in block]
