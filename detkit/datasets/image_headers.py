"""Sizes that the headers of images state, where Pillow does not know the file but OpenCV may."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

_MOST_TAGS = 1000
# The first bytes in which a header's text is looked for: comments may stand before the size.
_HEADER = 1 << 16


def stated_size(data: memoryview) -> tuple[int, int] | None:
    """Return the (h, w) that a header states, without decoding anything; None where it is no header that is known."""
    head = bytes(data[:_HEADER])
    for marks, read in _READERS:
        if head.startswith(marks):
            try:
                return read(data, head)
            except (struct.error, ValueError, IndexError):
                return None
    return None


def _png(data: memoryview, head: bytes) -> tuple[int, int] | None:
    return struct.unpack_from('>II', head, 16)[::-1]


def _gif(data: memoryview, head: bytes) -> tuple[int, int] | None:
    return struct.unpack_from('<HH', head, 6)[::-1]


def _bmp(data: memoryview, head: bytes) -> tuple[int, int] | None:
    is_old = struct.unpack_from('<I', head, 14)[0] == 12
    width, height = struct.unpack_from('<HH' if is_old else '<ii', head, 18)
    return abs(height), abs(width)


def _sun(data: memoryview, head: bytes) -> tuple[int, int] | None:
    return struct.unpack_from('>II', head, 4)[::-1]


def _jpeg(data: memoryview, head: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return struct.unpack_from('>HH', data, position + 5)
        position += 1 if marker == 0xFF else 2 + struct.unpack_from('>H', data, position + 2)[0]
    return None


def _jpeg_2000(data: memoryview, head: bytes) -> tuple[int, int] | None:
    if head.startswith(b'\xff\x4f'):
        right, bottom, left, top = struct.unpack_from('>IIII', head, 8)
        return bottom - top, right - left
    box = head.index(b'ihdr')
    return struct.unpack_from('>II', head, box + 4)


def _radiance(data: memoryview, head: bytes) -> tuple[int, int] | None:
    found = re.search(rb'\n[+-]([XY]) (\d{1,9}) [+-]([XY]) (\d{1,9})\s', head)
    if found is None:
        return None
    first, second = int(found[2]), int(found[4])
    return (first, second) if found[1] == b'Y' else (second, first)


def _portable(data: memoryview, head: bytes) -> tuple[int, int] | None:
    if head.startswith(b'P7'):
        sides = [re.search(rb'\n' + name + rb' (\d{1,9})\s', head) for name in (b'HEIGHT', b'WIDTH')]
        return None if None in sides else tuple(int(side[1]) for side in sides)
    found = re.match(rb'P[1-6Ff](?:\s+|#[^\n]*\n)+(\d{1,9})(?:\s+|#[^\n]*\n)+(\d{1,9})\s', head)
    return None if found is None else (int(found[2]), int(found[1]))


def _tiff(data: memoryview, head: bytes) -> tuple[int, int] | None:
    order = '<' if head.startswith(b'II') else '>'
    is_big = struct.unpack_from(f'{order}H', head, 2)[0] == 43
    start = struct.unpack_from(f'{order}Q', head, 8)[0] if is_big else struct.unpack_from(f'{order}I', head, 4)[0]
    count = struct.unpack_from(f'{order}Q' if is_big else f'{order}H', data, start)[0]
    first, step, value = (start + 8, 20, 12) if is_big else (start + 2, 12, 8)
    sides = {}
    for position in range(first, first + step * min(count, _MOST_TAGS), step):
        tag, kind = struct.unpack_from(f'{order}HH', data, position)
        if tag in (256, 257) and kind in (3, 4, 16):
            sides[tag] = struct.unpack_from(order + {3: 'H', 4: 'I', 16: 'Q'}[kind], data, position + value)[0]
    return (sides[257], sides[256]) if len(sides) == 2 else None


_READERS: tuple[tuple[tuple[bytes, ...], Callable[[memoryview, bytes], tuple[int, int] | None]], ...] = (
    ((b'\x89PNG',), _png),
    ((b'GIF8',), _gif),
    ((b'BM',), _bmp),
    ((b'\xff\xd8',), _jpeg),
    ((b'\xff\x4f', b'\0\0\0\x0cjP'), _jpeg_2000),
    ((b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'), _tiff),
    ((b'#?',), _radiance),
    ((b'P',), _portable),
    ((b'\x59\xa6\x6a\x95',), _sun),
)
