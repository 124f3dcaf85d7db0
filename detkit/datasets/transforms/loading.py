"""Reading images: RGB, upright, whole."""

from __future__ import annotations

import os
from dataclasses import replace
from io import BytesIO

import cv2
import numpy as np
from PIL import Image, ImageOps

from detkit.datasets.image_files import HEADER_ERRORS, open_image, read_image_header
from detkit.datasets.image_frames import note_further_frames
from detkit.datasets.image_metadata import MetadataError, check_exif
from detkit.datasets.image_readers import missing_reader, read_own
from detkit.registry import TRANSFORMS
from detkit.structures.sample import Sample
from detkit.structures.scene import Scene
from detkit.utils.errors import DataError
from detkit.utils.limits import BYTES_VARIABLE, MAX_FILE_BYTES, MAX_PIXELS, PIXELS_VARIABLE

__all__ = [
    'LoadImageFromFile',
    'UnreadableImageError',
    'convert_pillow_image',
    'decode_image',
    'read_image',
    'read_image_bytes',
    'read_shared',
]

# Images of more pixels are not held twice while they are decoded; others are decoded faster.
_LARGE = 1 << 26
_STRIP = 1 << 20  # pixels
# The first bytes of TIFF and of BigTIFF in both byte orders, and what is looked for in a header.
_TIFF_MARKS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_BITS_PER_SAMPLE, _EXTRA_SAMPLES, _UNASSOCIATED_ALPHA = 258, 338, 2


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

    Args:
        max_pixels: an image with more pixels is refused before it is decoded: a file of some kilobytes can ask for
            gigabytes of memory.

    Raises:
        UnreadableImageError: the dataset answers it by a recorded skip.
    """

    stage = 'load'

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        self.max_pixels = max_pixels

    def __call__(self, sample: Sample) -> Sample:
        record, images = sample.record, sample.images
        img = images.get(record.img_path)
        if img is None:
            img = images[record.img_path] = read_shared(record.img_path, self.max_pixels)
        if record.ori_shape is not None and img.shape[:2] != tuple(record.ori_shape):
            raise UnreadableImageError(record.img_path, size_mismatch(img.shape[:2], record.ori_shape, record.img_path))
        return replace(sample, scene=Scene.of_image(img, record.annotations, record.img_path), ori_shape=img.shape[:2])


def read_shared(path: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return what ``read_image`` does, for other samples of the batch and later epochs, too: nobody can change it."""
    img = read_image(path, max_pixels).view()
    img.flags.writeable = False
    return img


def size_mismatch(shape: tuple[int, ...], stated: tuple[int, ...], path: str) -> str:
    """Return what is wrong with an image whose upright (h, w) is not the one that its annotations state."""
    found, expected = 'x'.join(map(str, shape[::-1])), 'x'.join(map(str, stated[::-1]))
    text = f'is {found} pixels, but its annotations say {expected}'
    try:
        height, width, orientation = read_image_header(path)
    except OSError:  # an image in memory only
        return text
    if orientation != 1 and (height, width) == tuple(stated):
        text += (
            f': they describe the stored pixels, which EXIF orientation {orientation} turns. Turn the annotations, or '
            'write the image anew with its pixels upright and without the tag'
        )
    return text


def read_image(path: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a file to ``(h, w, 3)`` uint8 RGB, turned upright by its EXIF orientation; see also ``IMAGE_READERS``.

    The first page of an animation or a document counts. Transparency is dropped. Deeper pixels are scaled to 8 bits: of
    whole numbers the leading 8 of the 12 bits where an image uses no more (cameras store 12 bits in 16), else of 16;
    fractions from [0, 1] where none is above 1.

    Raises:
        UnreadableImageError: the file is missing, no image, has too many pixels, or ends early. (Decoders fill the
            missing part of a JPEG with grey and call that a success, so the ends of files are checked here.)
    """
    try:
        own = read_own(path)
    except OSError as error:
        raise UnreadableImageError(path, f'cannot be read: {error}') from error
    if isinstance(own, np.ndarray):
        check_pixels(*own.shape[:2], path, max_pixels)
        return own
    if own is not None:
        return decode_image(own, path, max_pixels)
    data, pixels = _read_checked(path, max_pixels)
    return _decode(data, path, path if pixels > _LARGE else None)


def decode_image(data: bytes | memoryview, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode the contents of an image file as ``read_image`` does, which are in memory; ``name`` is for errors."""
    contents = np.frombuffer(data, np.uint8)
    check_contents(contents, name, max_pixels)
    return _decode(contents, name)


def _decode(data: np.ndarray, path: str, file: str | None = None) -> np.ndarray:
    """Decode the contents of an image file; ``file`` is where they lie, for images too large to be held twice."""
    note_further_frames(data.data, path)
    if _is_tiff_for_pillow(data):
        return _read_with_pillow(data, path)
    # A JPEG has 8 bits. OpenCV 4.11 and later make RGB themselves, but wrongly of deeper images.
    flag = getattr(cv2, 'IMREAD_COLOR_RGB', None) if bytes(data[:2]) == b'\xff\xd8' else None
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH if flag is None else flag
    img = None if file is None else _read_large(file, flags)
    try:
        img = cv2.imdecode(data, flags) if img is None else img
    except cv2.error:
        img = None
    if img is None:
        return _read_with_pillow(data, path)
    return img if flag is not None else _to_8_bits(_to_rgb_order(img))


def _read_large(file: str, flags: int) -> np.ndarray | None:
    """Decode a file into memory of NumPy's, as OpenCV copies what it returns otherwise; None where it cannot."""
    try:
        file.encode()  # OpenCV crashes on a name that is no UTF-8
        return cv2.imread(file, None, flags)
    except (UnicodeEncodeError, cv2.error):  # before OpenCV 4.11 there is no such call
        return None


def _to_rgb_order(img: np.ndarray) -> np.ndarray:
    """Return BGR as RGB; a large image is changed itself, strip by strip, so that it is not held twice."""
    height, width = img.shape[:2]
    if height * width <= _LARGE:
        return cv2.cvtColor(img, cv2.COLOR_BGR2RGB)
    rows = max(_STRIP // width, 1)
    for top in range(0, height, rows):
        strip = img[top : top + rows]
        strip[:] = cv2.cvtColor(strip, cv2.COLOR_BGR2RGB)
    return img


def read_image_bytes(path: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return the contents of an image file as uint8, which is whole and not too large to be decoded.

    Raises:
        UnreadableImageError: see ``read_image``.
    """
    return _read_checked(path, max_pixels)[0]


def _read_checked(path: str, max_pixels: int) -> tuple[np.ndarray, int]:
    """Return what ``read_image_bytes`` does, and the number of pixels."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # to read from a pipe would wait for ever
            raise UnreadableImageError(path, 'is no regular file')
        if os.path.getsize(path) > MAX_FILE_BYTES:
            raise UnreadableImageError(path, f'is larger than {MAX_FILE_BYTES:,} bytes ({BYTES_VARIABLE} raises this)')
        data = np.fromfile(path, np.uint8)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, 'strerror', None) or error
        raise UnreadableImageError(path, f'cannot be opened: {reason}{missing_reader(path)}') from error
    return data, check_contents(data, path, max_pixels)


def check_contents(data: np.ndarray, path: str, max_pixels: int) -> int:
    """Check that an image file is whole and not too large to be decoded; return its number of pixels."""
    if data.size == 0:
        raise UnreadableImageError(path, 'is empty')
    if is_truncated(data.data):
        raise UnreadableImageError(path, 'is truncated: the end of the file is missing')
    try:
        height, width, _ = read_image_header(data.data)
    except MetadataError as error:
        raise UnreadableImageError(path, f'is not read: {error}') from error
    except OSError as error:  # its pixels are not known, even if one should decode it
        raise UnreadableImageError(path, f'is no image that OpenCV or Pillow can decode: {error}') from error
    check_pixels(height, width, path, max_pixels)
    return height * width


def check_pixels(height: int, width: int, path: str, max_pixels: int) -> None:
    """Raise ``UnreadableImageError`` for an image that is too large to be decoded."""
    if height * width > max_pixels:
        raise UnreadableImageError(
            path,
            f'has {width}x{height} pixels, more than max_pixels={max_pixels:,}. Cut it into tiles, or raise max_pixels '
            f'of LoadImageFromFile in the pipeline, for all tools by {PIXELS_VARIABLE}',
        )


def _is_tiff_for_pillow(data: np.ndarray) -> bool:
    """Return whether a TIFF is one that OpenCV reads wrongly or prints errors of its own about.

    It multiplies colours of 8 bits by an alpha channel that is not multiplied in yet, and has no grey of 32 bits.
    """
    if bytes(data[:4]) not in _TIFF_MARKS:
        return False
    try:
        with open_image(BytesIO(data.data)) as image:
            if image.format != 'TIFF':
                return False
            tags = image.tag_v2
            bits, extra = tags.get(_BITS_PER_SAMPLE, ()), tags.get(_EXTRA_SAMPLES, ())
            return image.mode in ('I', 'F') or (_UNASSOCIATED_ALPHA in extra and set(bits) == {8})
    except (*HEADER_ERRORS, OSError):  # OpenCV may know it
        return False


def _read_with_pillow(data: np.ndarray, path: str) -> np.ndarray:
    try:
        with open_image(BytesIO(data.data)) as image:
            return _to_rgb(image)
    except (*HEADER_ERRORS, OSError, MemoryError) as error:
        raise UnreadableImageError(path, f'is no image that OpenCV or Pillow can decode: {error}') from error


def convert_pillow_image(image: Image.Image, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Convert an image that was opened with Pillow as ``read_image`` decodes a file; ``name`` is for errors.

    Raises:
        UnreadableImageError: it has too many pixels, or its file, which Pillow reads only now, is broken.
    """
    check_pixels(image.height, image.width, name, max_pixels)
    try:
        check_exif(image)
        return _to_rgb(image)
    except (*HEADER_ERRORS, OSError, MemoryError) as error:
        raise UnreadableImageError(name, f'cannot be decoded by Pillow: {error}') from error


def _to_rgb(image: Image.Image) -> np.ndarray:
    """Return ``(h, w, 3)`` uint8 RGB, upright."""
    image = ImageOps.exif_transpose(image)
    deep = image.mode.startswith(('I', 'F'))
    values = np.asarray(image if deep else image.convert('RGB'))
    return _to_8_bits(np.repeat(values[..., None], 3, 2) if deep else values)


def _to_8_bits(img: np.ndarray) -> np.ndarray:
    if img.dtype == np.uint8:
        return img
    if img.dtype.kind == 'f':
        values = np.nan_to_num(img, nan=0.0, posinf=255.0, neginf=0.0).clip(0, 255)
        return (values * (255 if values.max() <= 1 else 1)).clip(0, 255).round().astype(np.uint8)
    bits = int(img.max()).bit_length()
    used = 8 if bits <= 8 else 12 if bits <= 12 else max(bits, 16)
    return (img.clip(0) >> (used - 8)).astype(np.uint8)


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
