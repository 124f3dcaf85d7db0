"""Sources to predict on: paths, folders, addresses, arrays, tensors, Pillow images, bytes, files, videos, iterators."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from torch import Tensor

from detkit.datasets.image_files import (
    IMAGE_SUFFIXES,
    files_below,
    has_image_suffix,
    images_below,
    list_images,
    read_list,
    unread_images,
)
from detkit.datasets.image_readers import has_reader, missing_reader
from detkit.inference.memory_images import OpenedFile, arrays_of_tensor, check_array, read_opened
from detkit.inference.source_image import ADDRESS, SourceImage
from detkit.inference.video import VIDEO_SUFFIXES, Video, VideoFrame
from detkit.inference.video_reader import PROTOCOLS
from detkit.utils.addresses import without_password
from detkit.utils.errors import ConfigError, DataError, absence, nearest
from detkit.utils.files import size_text

__all__ = [
    'ImageIterator',
    'KeptFrames',
    'Source',
    'SourceImage',
    'find_images',
    'find_sources',
    'images_of',
    'require_images',
]

_CHANNEL_ORDERS = ('rgb', 'bgr')
# Images of videos and iterators that a list of results may hold.
MAX_KEPT_BYTES = 1 << 30
_LIST_SUFFIX = '.txt'
_STREAM = 'give stream=True, and use each result before the next'
_KNOWN = f'known are {", ".join(IMAGE_SUFFIXES)}, and of videos {", ".join(VIDEO_SUFFIXES)}'


Source = (
    str
    | os.PathLike
    | np.ndarray
    | Tensor
    | Image.Image
    | bytes
    | BinaryIO
    | SourceImage
    | Video
    | int
    | Sequence['Source']
    | Iterator['Source']
)


def find_sources(source: Source, channel_order: str = 'rgb') -> list[FoundSource]:
    """Return the images and videos that ``source`` names, in order; none of them is decoded yet.

    Args:
        source: one of

            - an image file, a folder (searched with its subfolders), a pattern such as ``'photos/**/*.png'``, an
              address that begins with ``http://`` or ``https://``, or a text file (``.txt``) that names files, one a
              line, relative to its own folder or the working folder;
            - a decoded image ``(H, W, 3)`` uint8; grey ``(H, W)`` or ``(H, W, 1)`` is widened, and the alpha channel of
              ``(H, W, 4)`` is dropped;
            - a tensor ``(3, H, W)`` or ``(B, 3, H, W)``, uint8 or floats from 0 to 1, on any device;
            - an image opened by Pillow, which is turned upright by its EXIF orientation;
            - the bytes of an image file, or a file opened in mode ``'rb'`` (``io.BytesIO`` and the like), which is read
              from where it is to its end;
            - a video file (folders and patterns find these too), a camera by its number, the address of a video or a
              stream, or a ``Video``, which has options;
            - a list of any of these;
            - an iterator, such as a generator, of any of these save videos; see ``ImageIterator``.
        channel_order: the order of the colours in arrays and tensors, ``'rgb'`` or ``'bgr'``.

    Returns:
        The images and videos; an iterator alone as one ``ImageIterator``. An entry of a list that names none becomes
        one image with an ``error``, so that a list of N images gives N images, whatever is in it.

    Raises:
        DataError: a source that is no list names no image.
    """
    if channel_order not in _CHANNEL_ORDERS:
        raise ConfigError(f"channel_order is {channel_order!r}, but must be 'rgb' or 'bgr'")
    if isinstance(source, list | tuple):
        return _sources_of_entry(source, 0, channel_order)
    if isinstance(source, Iterator) and not isinstance(source, OpenedFile):
        return [ImageIterator(source, channel_order)]
    return list(_sources_of(source, 0, channel_order))


class ImageIterator:
    """The images of an iterator, which is advanced as they are used; it can be looped over once.

    Each item gives an image at least: one that names none, or a video, becomes an image with an ``error``. Pixels are
    copied when they are taken, so that an iterator may fill the same array again.

    Args:
        items: what ``find_sources`` takes save videos and iterators; also lists of these.
        channel_order: see ``find_sources``.
    """

    def __init__(self, items: Iterator[Source], channel_order: str = 'rgb') -> None:
        self._items, self._channel_order = items, channel_order

    @property
    def name(self) -> str:
        """A name for what is made of all its images."""
        return 'images'

    def __iter__(self) -> Iterator[SourceImage]:
        number = 0
        for item in self._items:
            for source in _sources_of_entry(item, number, self._channel_order):
                number += 1
                yield _own(source) if isinstance(source, SourceImage) else _no_image(source)


FoundSource = SourceImage | Video | ImageIterator


def _no_image(video: Video) -> SourceImage:
    return SourceImage(
        video.name, error=f'{video.name} is a video, but an iterator gives images; give videos alone or in a list'
    )


def _own(image: SourceImage) -> SourceImage:
    """Return an image whose pixels nobody else changes."""
    if isinstance(image, VideoFrame) or not isinstance(image.content, np.ndarray | Image.Image):
        return image
    try:
        return replace(image, content=np.array(image.read()))
    except DataError as error:
        return SourceImage(image.name, error=str(error))


def find_images(source: Source, channel_order: str = 'rgb') -> list[SourceImage]:
    """Return what ``find_sources`` does, where videos are of no use.

    Raises:
        DataError: a source that is no list names no image, or only a video.
    """
    found = find_sources(source, channel_order)
    videos = [each.name for each in found if isinstance(each, Video)]
    if videos and len(videos) == len(found):
        raise DataError(f'{videos[0]} is a video; single images are needed here')
    return list(images_of([each for each in found if not isinstance(each, Video)]))


def images_of(
    sources: Sequence[FoundSource], alone: bool | None = None, kept: KeptFrames | None = None
) -> Iterable[SourceImage]:
    """Return the images, and the frames of the videos; a video that cannot be opened is an image with an ``error``.

    They are a list where all are images, and else an iterator.

    Args:
        sources: images, videos and iterators.
        alone: a video that cannot be opened raises its error instead; by default if it is the only source.
        kept: counts the images that are in memory for their results only.

    Raises:
        DataError: see ``alone``.
    """
    if all(isinstance(source, SourceImage) for source in sources):
        return list(sources)
    return _frames_of(sources, len(sources) == 1 if alone is None else alone, kept)


def _frames_of(sources: Sequence[FoundSource], alone: bool, kept: KeptFrames | None) -> Iterator[SourceImage]:
    for source in sources:
        if isinstance(source, SourceImage):
            yield source
            continue
        try:
            yield from source if kept is None else kept.count(source)
        except DataError as error:
            if isinstance(source, ImageIterator) or alone:
                raise
            yield SourceImage(source.name, error=str(error))


class KeptFrames:
    """The frames of videos and images of iterators that a list of results holds, which must not take too much memory.

    Args:
        sources: all that the results are of.

    Raises:
        ConfigError: a video has no end, or more frames than ``MAX_KEPT_BYTES``.
    """

    def __init__(self, sources: Sequence[FoundSource]) -> None:
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
        """Yield ``images`` as long as those among all that were counted take little enough memory.

        Raises:
            ConfigError: they take more than ``MAX_KEPT_BYTES``.
        """
        for image in images:
            self._kept += _num_bytes(image.content)
            if self._kept > MAX_KEPT_BYTES:
                place = f'frame {image.frame} of {image.name}' if isinstance(image, VideoFrame) else image.name
                raise ConfigError(
                    f'the results hold more than {size_text(MAX_KEPT_BYTES)} of images at {place}; {_STREAM}'
                )
            yield image


def _num_bytes(content: np.ndarray | bytes | Image.Image | None) -> int:
    """Return how much memory an image takes until it is read."""
    if isinstance(content, np.ndarray):
        return content.nbytes
    return len(content) if isinstance(content, bytes) else 0


def require_images(sources: Sequence[FoundSource]) -> Sequence[FoundSource]:
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


def require_read(count: int) -> None:
    """Raise ``DataError`` if a command read no image, of which it has said why."""
    if not count:
        raise DataError('no image and no video could be read; the lines above say why')


def _sources_of_entry(item: Any, number: int, channel_order: str) -> list[SourceImage | Video]:
    """Return what an entry of a list names, see ``find_sources``; ``number`` is the index of its first image."""
    if isinstance(item, list | tuple):
        found: list[SourceImage | Video] = []
        for each in item:
            found += _sources_of_entry(each, number + len(found), channel_order)
        return found
    try:
        return list(_sources_of(item, number, channel_order))
    except DataError as error:
        name = os.fspath(item) if isinstance(item, str | os.PathLike) else f'image{number}'
        return [SourceImage(name, error=str(error))]


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
        return [SourceImage(name, check_array(item, channel_order))]
    if isinstance(item, Tensor):
        arrays = arrays_of_tensor(item, channel_order)
        return [SourceImage(f'image{number + i}', array) for i, array in enumerate(arrays)]
    if isinstance(item, Image.Image):
        return [SourceImage(str(getattr(item, 'filename', '') or name), item)]  # only what Pillow opened has a file
    if isinstance(item, bytes | bytearray | memoryview):
        return [SourceImage(name, bytes(item))]
    if isinstance(item, OpenedFile):
        path = getattr(item, 'name', None)  # only what was opened from a file has one
        return [SourceImage(path if isinstance(path, str) and path else name, read_opened(item))]
    if isinstance(item, Iterator):
        raise DataError('an iterator is no entry of a list or of another iterator; join several by itertools.chain')
    hint = '; cv2.imread returns None for a file that it cannot read, so give the path itself' if item is None else ''
    raise DataError(
        f'cannot predict on a {type(item).__name__}; give a path, folder, pattern, address, array, tensor, Pillow '
        f'image, the bytes of a file, an opened file, a video, the number of a camera, or a list or iterator of '
        f'these{hint}'
    )


def _find_paths(path: str) -> Sequence[SourceImage | Video]:
    if has_reader(path):
        return [SourceImage(path)]
    if scheme := ADDRESS.match(path):
        if scheme[1].lower() in ('http', 'https'):
            is_video = urlsplit(path).path.lower().endswith((*VIDEO_SUFFIXES, '.m3u8'))
            return [Video(path) if is_video else SourceImage(without_password(path), address=path)]
        if scheme[1].lower() not in PROTOCOLS:
            others = ', '.join(f'{name}://' for name in PROTOCOLS if name not in ('http', 'https'))
            raise DataError(
                f"'{without_password(path)}' is no address that images are read from; those begin with http:// or "
                f'https://, and of videos also with {others}{missing_reader(path)}'
            )
        return [Video(path)]
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        videos = [Video(name) for name in files_below(path) if _has_video_suffix(name)]
        images = [SourceImage(name) for name in (images_below(path) if videos else list_images(path))]
        unread = [SourceImage(skip.path, error=f'{skip.path} is {skip.reason}') for skip in unread_images(path)]
        return sorted([*images, *unread, *videos], key=lambda source: source.name)
    if path.lower().endswith(_LIST_SUFFIX) and os.path.isfile(path):
        return [_of_line(name, path) for name in read_list(path, '')]
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
    beside = os.listdir(folder) if os.path.isdir(folder) and not os.path.lexists(path) else []
    raise DataError(f"the source '{path}' {absence(path)}.{nearest(Path(path).name, beside)}")


def _of_line(path: str, list_file: str) -> SourceImage | Video:
    """Return the image or the video that a line of a list names; an image with an ``error`` where there is none."""
    if has_reader(path):
        return SourceImage(path)
    problem = None
    if ADDRESS.match(path):
        path, problem = without_password(path), 'is an address, and a list names files; give it as a source of its own'
    elif not os.path.isfile(path):
        problem = absence(path)
    elif not (has_image_suffix(path) or _has_video_suffix(path)):
        problem = 'is no image and no video'
    if problem is not None:
        return SourceImage(path, error=f"'{path}', a line of the list '{list_file}', {problem}")
    return _of_file(path)


def _of_file(path: str) -> SourceImage | Video:
    if has_image_suffix(path):
        return SourceImage(path)
    if _has_video_suffix(path) or path.startswith('/dev/video'):
        return Video(path)
    raise DataError(f"'{path}' is no image, no video and no list ({_LIST_SUFFIX}) of them; {_KNOWN}")


def _has_video_suffix(path: str) -> bool:
    return path.lower().endswith(VIDEO_SUFFIXES)
