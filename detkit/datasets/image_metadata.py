"""Limits on the metadata of images, which decoders read as a whole before the first pixel."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from PIL import Image

# The standard gives EXIF data 64 KiB. Tags may all refer to the same bytes, so that reading takes up to their square.
MAX_EXIF_BYTES = 1 << 17
# Sizes of a value of a TIFF's tags, by their kind.
_VALUE_SIZES = {2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


class MetadataError(OSError):
    """An image has more metadata than is read."""


def check_metadata(file: BinaryIO) -> None:
    """Refuse a JPEG or TIFF whose metadata costs too much, before a decoder opens it.

    Raises:
        MetadataError: it does.
    """
    file.seek(0)
    start = file.read(8)
    if start.startswith(b'\xff\xd8'):
        _check_size(_exif_size_of_jpeg(file))
    elif start[:4] in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'):
        size = file.seek(0, os.SEEK_END)
        claimed = _tag_bytes(file, size)
        if claimed > 2 * size:
            raise MetadataError(f'its tags refer to {claimed:,} bytes, but the file has {size:,}')


def check_exif(image: Image.Image) -> None:
    """Refuse EXIF data that Pillow has found, and not parsed yet, which are too large.

    Raises:
        MetadataError: they are.
    """
    text = image.info.get('Raw profile type exif', '')  # hexadecimal, in a PNG
    _check_size(max(len(image.info.get('exif') or b''), len(text) // 2))


def _check_size(num_bytes: int) -> None:
    if num_bytes > MAX_EXIF_BYTES:
        raise MetadataError(
            f'it has {num_bytes:,} bytes of EXIF data, more than {MAX_EXIF_BYTES:,}; write the image anew without them'
        )


def _exif_size_of_jpeg(file: BinaryIO) -> int:
    """Return the bytes of all EXIF segments before the pixels."""
    total, position = 0, 2
    while True:
        file.seek(position)
        head = file.read(10)
        if len(head) < 4:
            return total
        if head[0] != 0xFF or head[1] == 0xFF:  # decoders skip what lies between segments
            file.seek(position + 1)
            position += 1 + (file.read(4096) + b'\xff').find(b'\xff')
            continue
        marker, length = head[1], struct.unpack_from('>H', head, 2)[0]
        if marker == 0xDA:  # the pixels follow
            return total
        has_length = marker > 0x01 and not 0xD0 <= marker <= 0xD9
        if marker == 0xE1 and head[4:].startswith(b'Exif'):
            total += length
        position += 2 + max(length, 2) if has_length else 2


def _tag_bytes(file: BinaryIO, size: int) -> int:
    """Return the sum of the sizes that the first tags of a TIFF state, of values that lie within its ``size`` bytes."""
    file.seek(0)
    head = file.read(16)
    order, is_big = '<' if head[:2] == b'II' else '>', 43 in (head[2], head[3])
    # BigTIFF: offset, count of tags, and tag as kind, number of values and their place.
    offset_at, offset, count, tag = (8, 'Q', 'Q', 'HHQQ') if is_big else (4, 'I', 'H', 'HHII')
    try:
        file.seek(struct.unpack_from(order + offset, head, offset_at)[0])
        number = struct.unpack(order + count, file.read(struct.calcsize(count)))[0]
    except (struct.error, OverflowError, OSError, ValueError):
        return 0  # no decoder finds tags there
    layout = struct.Struct(order + tag)
    entries = file.read(min(number, 1 << 16) * layout.size)
    values = layout.iter_unpack(entries[: len(entries) // layout.size * layout.size])
    sizes = ((_VALUE_SIZES.get(kind, 1) * amount, place) for _, kind, amount, place in values)
    inline = struct.calcsize(offset)  # shorter values are in the tag itself
    return sum(num_bytes for num_bytes, place in sizes if num_bytes > inline and num_bytes + place <= size)
