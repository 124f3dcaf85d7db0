"""Sources of images to predict on: paths, folders, patterns, addresses, arrays, tensors, Pillow images, bytes."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from detkit.datasets.image_files import IMAGE_SUFFIXES, has_image_suffix, list_images, unread_images
from detkit.datasets.transforms.loading import UnreadableImageError, convert_pillow_image, decode_image, read_image
from detkit.utils.download import DownloadError, download
from detkit.utils.errors import ConfigError, DataError, nearest
from detkit.utils.limits import MAX_PIXELS

__all__ = ['MAX_DOWNLOAD_BYTES', 'Source', 'SourceImage', 'find_images', 'require_images']

# An image at an address that is larger than this is not fetched.
MAX_DOWNLOAD_BYTES = 100_000_000
_CHANNEL_ORDERS = ('rgb', 'bgr')
_ADDRESS = re.compile(r'(?i)([a-z][a-z0-9+.-]+)://')


@dataclass(frozen=True, eq=False)
class SourceImage:
    """An image to predict on; it is decoded when it is read.

    Attributes:
        name: its path or address; 'image3' for an image in memory, by its index in the source.
        content: the image where it is in memory: decoded ``(H, W, 3)`` uint8 RGB, encoded, or opened by Pillow.
        error: a sentence on why there is no image, where that is known without reading it.
    """

    name: str
    content: np.ndarray | bytes | Image.Image | None = None
    error: str | None = None

    def read(self, max_pixels: int = MAX_PIXELS) -> np.ndarray:
        """Return ``(H, W, 3)`` uint8 RGB, upright by its EXIF orientation.

        Raises:
            DataError: it cannot be read; the text is a sentence that names it.
        """
        if self.error is not None:
            raise DataError(self.error)
        try:
            if isinstance(self.content, np.ndarray):
                return self.content
            if isinstance(self.content, Image.Image):
                return convert_pillow_image(self.content, self.name, max_pixels)
            if self.content is not None:
                return decode_image(self.content, self.name, max_pixels)
            if _ADDRESS.match(self.name):
                return decode_image(self._downloaded, self.name, max_pixels)
            return read_image(self.name, max_pixels)
        except UnreadableImageError as error:
            raise DataError(f'{error.path} {error.reason}') from error

    @cached_property
    def _downloaded(self) -> bytes:
        with tempfile.TemporaryDirectory(prefix='detkit-') as folder:
            path = Path(folder) / 'image'
            try:
                download(self.name, path, MAX_DOWNLOAD_BYTES)
            except DownloadError as error:
                raise DataError(f'{self.name} cannot be downloaded: {error}') from error
            return path.read_bytes()


Source = str | os.PathLike | np.ndarray | Tensor | Image.Image | bytes | SourceImage | Sequence['Source']


def find_images(source: Source, channel_order: str = 'rgb') -> list[SourceImage]:
    """Return the images that ``source`` names, in order; none of them is decoded yet.

    Args:
        source: one of

            - an image file, a folder (searched with its subfolders), a pattern such as ``'photos/**/*.png'``, or an
              address that begins with ``http://`` or ``https://``;
            - a decoded image ``(H, W, 3)`` uint8; grey ``(H, W)`` or ``(H, W, 1)`` is widened, and the alpha channel of
              ``(H, W, 4)`` is dropped;
            - a tensor ``(3, H, W)`` or ``(B, 3, H, W)``, uint8 or floats from 0 to 1, on any device;
            - an image opened by Pillow, which is turned upright by its EXIF orientation;
            - the bytes of an image file;
            - a list of any of these.
        channel_order: the order of the colours in arrays and tensors, ``'rgb'`` or ``'bgr'``.

    Returns:
        The images. An entry of a list that names none becomes one image with an ``error``, so that a list of N images
        gives N images, whatever is in it.

    Raises:
        DataError: a source that is no list names no image.
    """
    if channel_order not in _CHANNEL_ORDERS:
        raise ConfigError(f"channel_order is {channel_order!r}, but must be 'rgb' or 'bgr'")
    if not isinstance(source, list | tuple):
        return _images_of(source, 0, channel_order)
    images: list[SourceImage] = []
    for item in source:
        if isinstance(item, list | tuple):
            images += find_images(item, channel_order)
            continue
        try:
            images += _images_of(item, len(images), channel_order)
        except DataError as error:
            name = os.fspath(item) if isinstance(item, str | os.PathLike) else f'image{len(images)}'
            images.append(SourceImage(name, error=str(error)))
    return images


def require_images(images: Sequence[SourceImage]) -> Sequence[SourceImage]:
    """Return ``images``, of which at least one must be worth reading.

    Raises:
        DataError: there is none; says what is wrong with the first.
    """
    if not images:
        raise DataError('the list of images to predict on is empty')
    if all(image.error is not None for image in images):
        raise DataError(images[0].error)
    return images


def _images_of(item: Any, number: int, channel_order: str) -> list[SourceImage]:
    """Return the images of a source that is no list; ``number`` is the index of its first one."""
    name = f'image{number}'
    if isinstance(item, SourceImage):
        return [item]
    if isinstance(item, str | os.PathLike):
        return _find_paths(os.fspath(item))
    if isinstance(item, np.ndarray):
        return [SourceImage(name, _check_array(item, channel_order))]
    if isinstance(item, Tensor):
        arrays = _arrays_of_tensor(item, channel_order)
        return [SourceImage(f'image{number + i}', array) for i, array in enumerate(arrays)]
    if isinstance(item, Image.Image):
        return [SourceImage(str(getattr(item, 'filename', '') or name), item)]  # only what Pillow opened has a file
    if isinstance(item, bytes | bytearray | memoryview):
        return [SourceImage(name, bytes(item))]
    hint = '; cv2.imread returns None for a file that it cannot read, so give the path itself' if item is None else ''
    raise DataError(
        f'cannot predict on a {type(item).__name__}; give a path, folder, pattern, address, array, tensor, Pillow '
        f'image, the bytes of a file, or a list of these{hint}'
    )


def _check_array(img: np.ndarray, channel_order: str) -> np.ndarray:
    """Return ``(H, W, 3)`` uint8 RGB, contiguous."""
    if img.dtype != np.uint8:
        hint = ''
        if img.dtype.kind == 'f':
            hint = '; multiply values from 0 to 1 by 255, and convert them by img.round().astype(np.uint8)'
        raise DataError(f'an image given as array must be uint8, not {img.dtype}{hint}')
    if img.ndim == 2:
        img = img[..., None]
    if img.ndim != 3 or img.shape[2] not in (1, 3, 4) or not img.size:
        hint = ''
        if img.ndim == 3 and img.shape[0] in (1, 3, 4):
            hint = '; move its channels to the end by img.transpose(1, 2, 0)'
        elif img.ndim == 4:
            hint = '; give a batch as list(images)'
        raise DataError(
            f'an image given as array must be (H, W, 3), or (H, W) grey, or (H, W, 4) with alpha, not {img.shape}{hint}'
        )
    img = img[..., :3]
    img = img.repeat(3, 2) if img.shape[2] == 1 else img
    return np.ascontiguousarray(img[..., ::-1] if channel_order == 'bgr' else img)


def _arrays_of_tensor(tensor: Tensor, channel_order: str) -> list[np.ndarray]:
    """Return the images ``(H, W, 3)`` uint8 RGB of a tensor."""
    shape = tuple(tensor.shape)
    if tensor.dim() not in (3, 4) or shape[-3] not in (1, 3) or not tensor.numel():
        hint = '; move its channels to the front by permute(2, 0, 1)' if tensor.dim() == 3 and shape[-1] == 3 else ''
        raise DataError(f'images given as tensor must be (3, H, W) or (B, 3, H, W), not {shape}{hint}')
    if tensor.is_floating_point():
        lowest, highest = tensor.min().item(), tensor.max().item()
        if not (lowest >= 0 and highest <= 1):  # NaN is neither
            raise DataError(
                f'images given as a tensor of floats must have values from 0 to 1, but these are from {lowest:g} to '
                f'{highest:g}; give them as they are before any normalisation, or as uint8'
            )
        tensor = (tensor.detach().float() * 255).round().to(torch.uint8)
    elif tensor.dtype != torch.uint8:
        raise DataError(f'images given as tensor must be uint8, or floats from 0 to 1, not {tensor.dtype}')
    batch = tensor.reshape(-1, *shape[-3:]).permute(0, 2, 3, 1).cpu().numpy()
    return [_check_array(img, channel_order) for img in batch]


def _find_paths(path: str) -> list[SourceImage]:
    if scheme := _ADDRESS.match(path):
        if scheme[1].lower() not in ('http', 'https'):
            raise DataError(f"'{path}' is no address that images are read from; those begin with http:// or https://")
        return [SourceImage(path)]
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        unread = [SourceImage(skip.path, error=f'{skip.path} is {skip.reason}') for skip in unread_images(path)]
        found = [SourceImage(name) for name in list_images(path)]
        return sorted([*found, *unread], key=lambda image: image.name)
    if os.path.isfile(path):
        if not has_image_suffix(path):
            raise DataError(f"'{path}' is no image; known are {', '.join(IMAGE_SUFFIXES)}")
        return [SourceImage(path)]
    if glob.has_magic(path):
        found = sorted(name for name in glob.glob(path, recursive=True) if os.path.isfile(name))
        images = [name for name in found if has_image_suffix(name)]
        if not images:
            raise DataError(
                f"no image fits the pattern '{path}' ({len(found)} other files do); "
                f'known are {", ".join(IMAGE_SUFFIXES)}'
            )
        return [SourceImage(name) for name in images]
    folder = Path(path).parent
    beside = os.listdir(folder) if os.path.isdir(folder) else []
    raise DataError(f"the source '{path}' does not exist.{nearest(Path(path).name, beside)}")
