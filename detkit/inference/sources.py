"""Sources to predict on: paths, folders, patterns, addresses, arrays, tensors, Pillow images, bytes, videos."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from detkit.datasets.image_files import (
    IMAGE_SUFFIXES,
    files_below,
    has_image_suffix,
    images_below,
    list_images,
    unread_images,
)
from detkit.inference.source_image import ADDRESS, SourceImage
from detkit.inference.video import VIDEO_SUFFIXES, Video, VideoFrame
from detkit.inference.video_reader import PROTOCOLS
from detkit.utils.errors import ConfigError, DataError, nearest
from detkit.utils.files import size_text

__all__ = ['KeptFrames', 'Source', 'SourceImage', 'find_images', 'find_sources', 'images_of', 'require_images']

_CHANNEL_ORDERS = ('rgb', 'bgr')
# Frames that a list of results may hold.
MAX_KEPT_BYTES = 1 << 30
_STREAM = 'give stream=True, and use each result before the next'
_KNOWN = f'known are {", ".join(IMAGE_SUFFIXES)}, and of videos {", ".join(VIDEO_SUFFIXES)}'


Source = str | os.PathLike | np.ndarray | Tensor | Image.Image | bytes | SourceImage | Video | int | Sequence['Source']


def find_sources(source: Source, channel_order: str = 'rgb') -> list[SourceImage | Video]:
    """Return the images and videos that ``source`` names, in order; none of them is decoded yet.

    Args:
        source: one of

            - an image file, a folder (searched with its subfolders), a pattern such as ``'photos/**/*.png'``, or an
              address that begins with ``http://`` or ``https://``;
            - a decoded image ``(H, W, 3)`` uint8; grey ``(H, W)`` or ``(H, W, 1)`` is widened, and the alpha channel of
              ``(H, W, 4)`` is dropped;
            - a tensor ``(3, H, W)`` or ``(B, 3, H, W)``, uint8 or floats from 0 to 1, on any device;
            - an image opened by Pillow, which is turned upright by its EXIF orientation;
            - the bytes of an image file;
            - a video file (folders and patterns find these too), a camera by its number, the address of a video or a
              stream, or a ``Video``, which has options;
            - a list of any of these.
        channel_order: the order of the colours in arrays and tensors, ``'rgb'`` or ``'bgr'``.

    Returns:
        The images and videos. An entry of a list that names none becomes one image with an ``error``, so that a list of
        N images gives N images, whatever is in it.

    Raises:
        DataError: a source that is no list names no image.
    """
    if channel_order not in _CHANNEL_ORDERS:
        raise ConfigError(f"channel_order is {channel_order!r}, but must be 'rgb' or 'bgr'")
    if not isinstance(source, list | tuple):
        return _sources_of(source, 0, channel_order)
    found: list[SourceImage | Video] = []
    for item in source:
        if isinstance(item, list | tuple):
            found += find_sources(item, channel_order)
            continue
        try:
            found += _sources_of(item, len(found), channel_order)
        except DataError as error:
            name = os.fspath(item) if isinstance(item, str | os.PathLike) else f'image{len(found)}'
            found.append(SourceImage(name, error=str(error)))
    return found


def find_images(source: Source, channel_order: str = 'rgb') -> list[SourceImage]:
    """Return what ``find_sources`` does, where videos are of no use.

    Raises:
        DataError: a source that is no list names no image, or only a video.
    """
    found = find_sources(source, channel_order)
    videos = [each.name for each in found if isinstance(each, Video)]
    if videos and len(videos) == len(found):
        raise DataError(f'{videos[0]} is a video; single images are needed here')
    return [each for each in found if not isinstance(each, Video)]


def images_of(sources: Sequence[SourceImage | Video], alone: bool | None = None) -> Iterator[SourceImage]:
    """Yield the images, and the frames of the videos; a video that cannot be opened is an image with an ``error``.

    Args:
        sources: images and videos.
        alone: a video that cannot be opened raises its error instead; by default if it is the only source.

    Raises:
        DataError: see ``alone``.
    """
    for source in sources:
        if not isinstance(source, Video):
            yield source
            continue
        try:
            yield from source
        except DataError as error:
            if len(sources) == 1 if alone is None else alone:
                raise
            yield SourceImage(source.name, error=str(error))


class KeptFrames:
    """The frames that a list of results holds, which must not take too much memory.

    Args:
        sources: all that the results are of.

    Raises:
        ConfigError: a video has no end, or more frames than ``MAX_KEPT_BYTES``.
    """

    def __init__(self, sources: Sequence[SourceImage | Video]) -> None:
        self._kept = 0
        for video in (source for source in sources if isinstance(source, Video)):
            if video.is_live:
                raise ConfigError(f'{video.name} has no end, so there is no list of its results; {_STREAM}')
            needed = video.num_bytes
            if needed is not None and needed > MAX_KEPT_BYTES:
                raise ConfigError(
                    f'the results of {video.name} would hold {size_text(needed)} of frames in a list; {_STREAM}'
                )

    def count(self, images: Iterable[SourceImage]) -> Iterator[SourceImage]:
        """Yield ``images`` as long as the frames among all that were counted are few enough."""
        for image in images:
            if isinstance(image, VideoFrame) and image.error is None:
                self._kept += image.content.nbytes
                if self._kept > MAX_KEPT_BYTES:
                    raise ConfigError(
                        f'the results hold more than {size_text(MAX_KEPT_BYTES)} of frames at frame {image.frame} of '
                        f'{image.name}; {_STREAM}'
                    )
            yield image


def require_images(sources: Sequence[SourceImage | Video]) -> Sequence[SourceImage | Video]:
    """Return ``sources``, of which at least one must be worth reading.

    Raises:
        DataError: there is none; says what is wrong with the first.
    """
    if not sources:
        raise DataError('the list of images to predict on is empty')
    errors = [source.error for source in sources if isinstance(source, SourceImage) and source.error is not None]
    if len(errors) == len(sources):
        raise DataError(errors[0])
    return sources


def _sources_of(item: Any, number: int, channel_order: str) -> Sequence[SourceImage | Video]:
    """Return the images or the video of a source that is no list; ``number`` is the index of its first one."""
    name = f'image{number}'
    if isinstance(item, SourceImage | Video):
        return [item]
    if isinstance(item, int) and not isinstance(item, bool):
        return [Video(item)]
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
        f'image, the bytes of a file, a video, the number of a camera, or a list of these{hint}'
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


def _find_paths(path: str) -> Sequence[SourceImage | Video]:
    if scheme := ADDRESS.match(path):
        if scheme[1].lower() in ('http', 'https'):
            is_video = urlsplit(path).path.lower().endswith((*VIDEO_SUFFIXES, '.m3u8'))
            return [Video(path) if is_video else SourceImage(path)]
        if scheme[1].lower() not in PROTOCOLS:
            raise DataError(
                f"'{path}' is no address that images are read from; those begin with http:// or https://, and "
                f'of videos also with {", ".join(f"{name}://" for name in PROTOCOLS if name not in ("http", "https"))}'
            )
        return [Video(path)]
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        videos = [Video(name) for name in files_below(path) if _has_video_suffix(name)]
        images = [SourceImage(name) for name in (images_below(path) if videos else list_images(path))]
        unread = [SourceImage(skip.path, error=f'{skip.path} is {skip.reason}') for skip in unread_images(path)]
        return sorted([*images, *unread, *videos], key=lambda source: source.name)
    if os.path.isfile(path) or path.startswith('/dev/video'):
        return [_of_file(path)]
    if glob.has_magic(path):
        found = sorted(name for name in glob.glob(path, recursive=True) if os.path.isfile(name))
        sources = [_of_file(name) for name in found if has_image_suffix(name) or _has_video_suffix(name)]
        if not sources:
            raise DataError(f"no image and no video fits the pattern '{path}' ({len(found)} other files do); {_KNOWN}")
        return sources
    if path.isdecimal() and len(path) < 4:
        return [Video(int(path))]
    folder = Path(path).parent
    beside = os.listdir(folder) if os.path.isdir(folder) else []
    raise DataError(f"the source '{path}' does not exist.{nearest(Path(path).name, beside)}")


def _of_file(path: str) -> SourceImage | Video:
    if has_image_suffix(path):
        return SourceImage(path)
    if _has_video_suffix(path) or path.startswith('/dev/video'):
        return Video(path)
    raise DataError(f"'{path}' is no image and no video; {_KNOWN}")


def _has_video_suffix(path: str) -> bool:
    return path.lower().endswith(VIDEO_SUFFIXES)
