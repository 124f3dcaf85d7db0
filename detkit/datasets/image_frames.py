"""Animations and documents: image files of several frames or pages, of which the first one is read."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from mmap import ACCESS_READ, mmap

from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from detkit.datasets.skips import Skip, list_skips
from detkit.utils.printable import printable

__all__ = ['has_further_frames', 'note_further_frames', 'skips_of_frames']

# Files that may have several frames; a PNG has them in APNG alone.
_SUFFIXES = ('.gif', '.apng', '.webp', '.tif', '.tiff')
_HEADER = 1 << 16
_MOST_FILES = 1000
# NewSubfileType of a TIFF's page, and the bits of one that shows the first page again: smaller, or as a mask.
_SUBFILE, _OF_FIRST_PAGE = 254, 0b101
_noted: list[str] = []  # the file that the line was printed for


def has_further_frames(data: memoryview) -> bool:
    """Return whether a GIF, APNG, WebP or TIFF file has more than one frame or page; False for other formats."""
    head = bytes(data[:_HEADER])
    try:
        if head.startswith(b'GIF8'):
            return _gif_has_second(data)
        if head.startswith(b'\x89PNG'):
            place, pixels = head.find(b'acTL'), head.find(b'IDAT')
            return 0 < place < (pixels if pixels > 0 else len(head)) and _unpack('>I', data, place + 4) > 1
        if head.startswith(b'RIFF') and head[8:16] == b'WEBPVP8X':
            return bool(head[20] & 2)
        if head.startswith((b'II*\0', b'MM\0*')):
            return _tiff_has_second(data, '<' if head.startswith(b'II') else '>')
    except (struct.error, IndexError):  # cut short, which the decoder says
        pass
    return False


def note_further_frames(data: memoryview, name: str) -> None:
    """Print a line about the first file that has several frames, but not in a worker: its dataset lists such files."""
    if get_worker_info() is None and has_further_frames(data):
        _note(name)


def _note(name: str) -> None:
    if _noted:
        return
    _noted.append(name)
    text = (
        f'{name} has several frames or pages, of which the first is read, as of all such files; of a video all are: '
        'convert an animation to one, such as .mp4'
    )
    print_log(printable(text), 'current')


def skips_of_frames(paths: Sequence[str]) -> list[Skip]:
    """Return what is said of images that have several frames, judged by the first files of such formats."""
    found = []
    for path in [path for path in paths if path.lower().endswith(_SUFFIXES)][:_MOST_FILES]:
        try:
            with open(path, 'rb') as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data, memoryview(data) as view:
                if has_further_frames(view):
                    found.append(path)
        except (OSError, ValueError):  # missing or empty, which the decoder says
            continue
    return list_skips(found, lambda path: (path, None), 'the further frames or pages of an image, whose first is read')


def _unpack(kind: str, data: memoryview, place: int) -> int:
    return struct.unpack_from(kind, data, place)[0]


def _gif_has_second(data: memoryview) -> bool:
    position, images = 13 + _table(data[10]), 0
    while data[position] in (0x21, 0x2C):
        if data[position] == 0x2C:
            images += 1
            if images > 1:
                return True
            position += 11 + _table(data[position + 9])
        else:
            position += 2
        while data[position]:  # parts of up to 255 bytes
            position += 1 + data[position]
        position += 1
    return False


def _table(flags: int) -> int:
    """Return the bytes of the table of colours that flags of a GIF announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _tiff_has_second(data: memoryview, order: str) -> bool:
    start = _unpack(f'{order}I', data, 4)
    second = _unpack(f'{order}I', data, start + 2 + 12 * _unpack(f'{order}H', data, start))
    if not second:
        return False
    for position in range(second + 2, second + 2 + 12 * _unpack(f'{order}H', data, second), 12):
        if _unpack(f'{order}H', data, position) == _SUBFILE:
            return not _unpack(f'{order}I', data, position + 8) & _OF_FIRST_PAGE
    return True
