"""Finding the images of a dataset and reading their sizes without decoding them."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from detkit.datasets.image_headers import stated_size
from detkit.datasets.image_metadata import MetadataError, check_exif, check_metadata
from detkit.datasets.image_readers import read_own
from detkit.datasets.path_finder import PathFinder
from detkit.datasets.skips import Skip, list_skips
from detkit.structures.annotations import Record
from detkit.utils.errors import DataError, absence
from detkit.utils.limits import MAX_FILE_BYTES, MAX_PIXELS
from detkit.utils.progress import track
from detkit.utils.text_files import read_text

# Suffixes of the formats that OpenCV or Pillow decodes.
IMAGE_SUFFIXES = tuple(
    f'.{suffix}'
    for suffix in (
        'jpg jpeg jpe jfif png apng bmp dib tif tiff webp avif gif jp2 j2k jpx pbm pgm ppm pnm pfm hdr ras sgi pcx '
        'tga qoi psd'
    ).split()
)
# Pictures that neither does, unless a module like pillow_heif has taught it to Pillow.
UNREAD_SUFFIXES = tuple(
    f'.{suffix}' for suffix in 'heic heif hif jxl svg exr dcm raw cr2 cr3 nef arw dng orf rw2 pdf eps'.split()
)

# Names of Pillow's plugins for them. Its others are left out: some start other programs. TGA has no mark of its own.
_FORMATS = 'JPEG PNG WEBP BMP DIB TIFF GIF JPEG2000 PPM SGI PCX QOI PSD SUN TGA'.split()
_EXTRA_FORMATS = ('AVIF', 'HEIF')  # depend on how Pillow was built, and on other modules

# The errors that Pillow raises for broken files, beside OSError.
HEADER_ERRORS = (
    ValueError,
    SyntaxError,
    KeyError,
    TypeError,
    IndexError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)

_EXIF_ORIENTATION = 274
# Files a thread reads at a time: headers are small, so the cost to spread is the latency of a disk or a network.
_BLOCK = 256
# Folders below the data's that are looked through for an image that is not where it should be.
_MOST_FOLDERS = 2000


def list_images(folder: str | os.PathLike) -> list[str]:
    """Return all images below ``folder``, sorted by path. Hidden files and folders are left out.

    Raises:
        DataError: ``folder`` is missing or holds no image.
    """
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise DataError(f'the image folder {folder!r} {absence(folder)}')
    found = images_below(folder)
    if not found:
        unread = len(unread_images(folder))
        other = f'; {unread} pictures are of kinds that are not read ({", ".join(UNREAD_SUFFIXES)})' if unread else ''
        raise DataError(f'the image folder {folder!r} holds no image ({", ".join(IMAGE_SUFFIXES)}){other}')
    return found


def images_below(folder: str | os.PathLike) -> list[str]:
    """Return all images below ``folder`` as ``list_images`` does, possibly none."""
    return [path for path in files_below(folder) if is_image_name(os.path.basename(path))]


def unread_images(folder: str | os.PathLike) -> list[Skip]:
    """Return the pictures below ``folder`` that are of a kind that cannot be decoded."""
    return unread_among(files_below(folder))


def unread_among(paths: Sequence[str]) -> list[Skip]:
    """Return the pictures among some files that are of a kind that cannot be decoded."""
    return [
        Skip(path, None, f'a picture of a kind that is not read ({suffix}): convert it to JPEG or PNG')
        for path in paths
        if (suffix := os.path.splitext(path)[1].lower()) in UNREAD_SUFFIXES and suffix not in Image.EXTENSION
    ]


def files_below(folder: str | os.PathLike) -> list[str]:
    """Return all files below ``folder``, sorted by path. Hidden ones are left out, and a folder is entered once."""
    found, entered = [], set()
    for parent, folders, names in os.walk(os.fspath(folder), followlinks=True):
        real = os.path.realpath(parent)
        if real in entered:  # a link that leads back
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        found += [os.path.join(parent, name) for name in names if not name.startswith('.')]
    return sorted(found)


def image_folder_remedy(key: str, data_root: str, missing: str) -> str:
    """Return what to correct in a dataset's config where its images are not in the folder that the config names.

    Args:
        key: the key of that folder.
        data_root: the folder of all data.
        missing: the name of an image, with or without suffix, which is looked for below ``data_root``.
    """
    name, root = os.path.basename(missing.replace('\\', '/')), data_root or '.'
    where = ''
    for folder, folders, files in islice(os.walk(root), _MOST_FOLDERS):
        folders.sort()
        alike = [file for file in sorted(files) if name in (file, os.path.splitext(file)[0]) and is_image_name(file)]
        if alike:
            where = f'; {alike[0]!r} is in {os.path.relpath(folder, root)!r}'
            break
    return f'Correct {key}, relative to data_root={data_root!r}, in the config of the dataset{where}.'


def is_image_name(name: str) -> bool:
    """Return whether a file of this name counts as an image of a folder."""
    return has_image_suffix(name) and not name.startswith('.')


def has_image_suffix(path: str) -> bool:
    """Return whether a file's suffix is that of an image that can be decoded."""
    suffix = os.path.splitext(path)[1].lower()
    return suffix in IMAGE_SUFFIXES or (suffix in UNREAD_SUFFIXES and suffix in Image.EXTENSION)


def read_list(list_file: str | os.PathLike, root: str | os.PathLike) -> list[str]:
    """Return the images named in a text file, one a line; relative to the file's folder or to ``root``.

    Names as other systems write them are understood, see ``PathFinder``; of a file that is not found, the path where it
    should be is returned.

    Raises:
        DataError: the file is an image itself or no text, or names no image.
    """
    list_file = Path(list_file)
    if has_image_suffix(list_file.name):
        raise DataError(
            f'{str(list_file)!r} is an image; give its folder, or a text file that names images, one a line'
        )
    lines = [line.strip() for line in read_text(list_file, 'image list').splitlines()]
    finder = PathFinder(list_file.parent, root)
    paths = [
        finder.find(line) or os.path.join(list_file.parent if line.startswith('./') else root, line.removeprefix('./'))
        for line in filter(None, lines)
    ]
    if not paths:
        raise DataError(f'the image list {str(list_file)!r} names no image')
    return paths


def image_id_of(path: str) -> int | str:
    """Return an image's id by its file's name: the stem, or the number that COCO names a file by.

    A number is taken where the name follows from it: ``36.jpg`` or ``000000000036.jpg``, while ``0036`` stays text.
    """
    stem = os.path.splitext(os.path.basename(path))[0]
    number = int(stem) if re.fullmatch('[0-9]{1,18}', stem) else -1
    return number if stem in (str(number), f'{number:012d}') else stem


def unique_ids(paths: Sequence[str], ids: Sequence[int | str]) -> Sequence[int | str]:
    """Return ``ids`` that were made of files' names; where two images have the same, the paths below a shared folder.

    Args:
        paths: the images' paths, each image once.
        ids: their ids.
    """
    if len(set(ids)) == len(ids):
        return ids
    shared = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    return [Path(os.path.relpath(path, shared)).as_posix() for path in paths]


def with_unique_ids(records: Sequence[Record]) -> list[Record]:
    """Return records whose ids were made of files' names with ids that differ, see ``unique_ids``."""
    ids = unique_ids([record.img_path for record in records], [record.img_id for record in records])
    return [replace(record, img_id=own) for record, own in zip(records, ids, strict=True)]


def each_once(paths: Sequence[str]) -> tuple[list[str], list[Skip]]:
    """Return paths without those of an image that an earlier one names, and the entries of those that were left out."""
    first: dict[str, str] = {}
    again = []
    for path in paths:
        key = os.path.normpath(path)
        if key in first:
            again.append(path)
        else:
            first[key] = path
    return list(first.values()), list_skips(again, lambda path: (path, None), 'an image that is listed again')


def read_image_size(file: str | bytes | memoryview) -> tuple[int, int]:
    """Return (h, w) of the upright image, from its header and its EXIF orientation.

    Args:
        file: a path, also one with a reader of its own (``IMAGE_READERS``), or a file's contents.

    Raises:
        OSError: the file is missing, no regular file, or no image that can be identified.
        MetadataError: it has more EXIF data than is read.
    """
    height, width, orientation = read_image_header(file)
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)


def read_image_header(file: str | bytes | memoryview) -> tuple[int, int, int]:
    """Return (h, w) of the stored pixels and the EXIF orientation, 1 for an upright image; see ``read_image_size``."""
    own = read_own(file) if isinstance(file, str) else file
    if isinstance(own, np.ndarray):
        return *own.shape[:2], 1
    if own is not None:
        return _read_header(BytesIO(own))
    if os.path.exists(file) and not os.path.isfile(file):
        raise OSError('no regular file')
    if '\0' in file:
        raise OSError('a NUL in its name')
    with open(file, 'rb') as opened:
        return _read_header(opened)


def _read_header(file: BinaryIO) -> tuple[int, int, int]:
    check_metadata(file)
    try:
        return _read_with_pillow(file)
    except MetadataError:
        raise
    except OSError:
        size = _decoded_size(file)  # OpenCV knows some that Pillow does not, such as fractions in three channels
        if size is None:
            raise
        return *size, 1


def _decoded_size(file: BinaryIO) -> tuple[int, int] | None:
    """Return the (h, w) of an image that OpenCV decodes, or that has too many pixels to be decoded; None of others."""
    if file.seek(0, os.SEEK_END) > MAX_FILE_BYTES:
        return None
    file.seek(0)
    data = file.read()
    size = stated_size(memoryview(data))
    if size is None and not (data[:4] == b'RIFF' or data[4:8] == b'ftyp'):  # WebP and AVIF limit their sizes themselves
        return None
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        return size
    try:
        img = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        return None
    return None if img is None else img.shape[:2]


def _read_with_pillow(file: BinaryIO) -> tuple[int, int, int]:
    try:
        with open_image(file) as image:
            check_exif(image)
            # Some versions of Pillow swap ``size`` of a turned TIFF themselves; its tags give the stored size.
            width, height = (image.tag_v2[tag] for tag in (256, 257)) if image.format == 'TIFF' else image.size
            # To look for EXIF data behind the pixels of a PNG, Pillow would decode all of it.
            has_exif = image.format != 'PNG' or {'exif', 'Raw profile type exif'} & image.info.keys()
            return int(height), int(width), image.getexif().get(_EXIF_ORIENTATION, 1) if has_exif else 1
    except HEADER_ERRORS as error:
        raise OSError(f'{type(error).__name__}: {error}') from error


def open_image(file: BinaryIO) -> Image.Image:
    """Open an image with Pillow but without Pillow's limit on its size, as nothing is decoded yet.

    Raises:
        OSError: no plugin knows it.
    """
    if not Image.OPEN.keys() >= set(_FORMATS):
        Image.init()
    for name in (*_FORMATS, *(name for name in _EXTRA_FORMATS if name in Image.OPEN)):
        factory, accept = Image.OPEN[name]
        file.seek(0)
        try:  # some plugins' tests of the first bytes fail where there are too few
            if accept is None or accept(file.read(16)) is True:
                file.seek(0)
                return factory(file, '')
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    raise OSError('no image that can be identified')


def unreadable(path: str, error: OSError) -> Skip:
    """Return the entry of an image whose header cannot be read."""
    return Skip(path, None, f'the image cannot be read: {error.strerror or error}', 'an image that cannot be read')


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
        starts = range(0, len(paths), _BLOCK)
        blocks = track(pool.map(read_block, starts), 'read image sizes, by blocks', len(starts))
        return [size for block in blocks for size in block]
