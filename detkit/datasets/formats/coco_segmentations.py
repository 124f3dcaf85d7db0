"""The texts of COCO's segmentations: rings of outlines, and bitmaps in run lengths, thousands at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import simdjson
from pycocotools import mask as mask_utils

from detkit.datasets.formats.coco_rle import measure_rles

__all__ = ['Bitmaps', 'Rings', 'is_number', 'read_bitmaps', 'read_rings']

# No coordinate or area is larger.
LIMIT = 1e15
_LARGEST_SIDE = 1 << 24
_BLANKS = b' \n\r\t'
_OPEN, _CLOSE, _COMMA = b'[],'
_BROKEN = 'a segmentation that is a broken bitmap: its run lengths do not make up its size'
_NO_BITMAP = 'a segmentation that is a bitmap without a size of two whole numbers, or without counts'


class _Rle(msgspec.Struct, gc=False):
    size: tuple[int, int]
    counts: str | list[int]


_DECODER = msgspec.json.Decoder(_Rle)


@dataclass
class Rings:
    """The outlines of M objects.

    Attributes:
        owners: ``(R,)`` int64, non-decreasing, the object of each ring.
        sizes: ``(R,)`` int64, the number of its points.
        points: ``(P, 2)`` float64.
        odd: ``(M,)`` bool: objects with a ring that is left out, as it is not three points or more, or has no width or
            no height.
    """

    owners: np.ndarray
    sizes: np.ndarray
    points: np.ndarray
    odd: np.ndarray


@dataclass
class Bitmaps:
    """The bitmaps of some objects.

    Attributes:
        owners: ``(Q,)`` int64, ascending, the object of each.
        sizes: ``(Q, 2)`` int64 (h, w).
        counts: Q compressed run lengths.
        areas: ``(Q,)`` int64 pixels.
        broken: by object, what is wrong with its bitmap.
        empty: the objects whose bitmap is left out, as it has no pixel.
    """

    owners: np.ndarray
    sizes: np.ndarray
    counts: list[bytes]
    areas: np.ndarray
    broken: dict[int, str]
    empty: np.ndarray


def is_number(value: Any) -> bool:
    """Return whether a value is a number that can be a coordinate or an area."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LIMIT < value < LIMIT


def read_rings(texts: Sequence[bytes]) -> Rings:
    """Read segmentations that are lists of rings; others count as none.

    A list of numbers that nobody put into a list is one ring, and so is a list of points. Rings may be lists of points,
    or lie one list deeper.
    """
    owners, own = [], []
    for number, text in enumerate(texts):
        if text[:1] == b'{' or text == b'null':
            continue
        text = text.translate(None, _BLANKS)
        if text[:2] != b'[[':
            text = _mend(text)
        if text != b'[]':
            owners.append(number)
            own.append(text)
    try:
        ring_owners, lengths, values = _parse(own)
    except (ValueError, TypeError, RuntimeError):  # a list that holds other things, which costs one ring
        own = [_mend(text) for text in own]
        ring_owners, lengths, values = _parse(own)
    if (lengths == 2).any() and _join_points(own, ring_owners, lengths):
        ring_owners, lengths, values = _parse(own)
    ring_owners = np.array(owners, np.int64)[ring_owners]
    good = (lengths >= 6) & (lengths % 2 == 0)
    small = np.abs(values) < LIMIT
    if not small.all():
        good[np.repeat(np.arange(len(lengths)), lengths)[~small]] = False
    odd = np.zeros(len(texts), bool)
    if not good.all():
        odd[ring_owners[~good]] = True
        values = values[np.repeat(good, lengths)]
    owners_of_rings, sizes, points = ring_owners[good], lengths[good] // 2, values.reshape(-1, 2)
    wide = _has_extent(points, sizes)
    if not wide.all():
        odd[owners_of_rings[~wide]] = True
        points = points[np.repeat(wide, sizes)]
    return Rings(owners_of_rings[wide], sizes[wide], points, odd)


def _has_extent(points: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return ``(R,)`` bool: the rings of ``points (P, 2)`` that have both a width and a height, in single precision."""
    if not len(sizes):
        return np.zeros(0, bool)
    starts = np.cumsum(sizes) - sizes
    points = points.astype(np.float32)
    return (np.maximum.reduceat(points, starts) > np.minimum.reduceat(points, starts)).all(1)


def _parse(texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parse lists of rings, each at least one, without blanks.

    Returns:
        ``(R,)`` int64 the list of each ring, ``(R,)`` int64 how many numbers it has, and all numbers as float64.

    Raises:
        ValueError, TypeError, RuntimeError: a text is no list of lists of numbers, or of numbers beyond 64 bits.
    """
    if not texts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    text = b'[' + b','.join(texts) + b']'
    values = np.frombuffer(simdjson.Parser().parse(text).as_buffer(of_type='d'), np.float64)
    characters = np.frombuffer(text, np.uint8)
    commas = np.flatnonzero(characters == _COMMA)
    brackets = np.flatnonzero((characters == _OPEN) | (characters == _CLOSE))
    is_open = characters[brackets] == _OPEN
    is_ring = is_open.copy()
    is_ring[:-1] &= characters[brackets[:-1] + 1] != _OPEN
    rings = np.flatnonzero(is_ring)
    starts, stops = brackets[rings], brackets[rings + 1]
    # A ring ends at the next bracket, behind which there is the next ring, or the end of its list.
    follows = (characters[stops + 1] == _CLOSE) | (characters[np.minimum(stops + 2, len(text) - 1)] == _OPEN)
    lengths = np.searchsorted(commas, stops) - np.searchsorted(commas, starts) + (stops > starts + 1)
    nested = is_open.sum() != 1 + len(texts) + len(rings)
    if nested or is_open[rings + 1].any() or not follows.all() or lengths.sum() != len(values):
        raise ValueError('lists in rings, or numbers beside them')
    ends = np.cumsum([len(own) + 1 for own in texts])
    return np.searchsorted(ends, starts, 'left'), lengths, values


def _mend(text: bytes) -> bytes:
    """Return a segmentation as a list of rings, those that hold anything but numbers being empty."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return b'[[]]'
    if not value:
        return b'[]'
    if not isinstance(value, list):
        return b'[[]]'
    rings = [value] if all(map(is_number, value)) else _flatten(value)
    rings = [ring if isinstance(ring, list) and all(map(is_number, ring)) else [] for ring in rings]
    return json.dumps(rings, separators=(',', ':')).encode()


def _flatten(rings: list) -> list:
    """Return rings that are lists of points as lists of numbers, and those that lie one list deeper as the others."""
    flat = []
    for ring in rings:
        if isinstance(ring, list) and ring and all(isinstance(part, list) for part in ring):
            are_points = all(len(part) == 2 for part in ring)
            flat += [[number for point in ring for number in point]] if are_points else ring
        else:
            flat.append(ring)
    return flat


def _join_points(texts: list[bytes], owners: np.ndarray, lengths: np.ndarray) -> bool:
    """Make one ring of each text that lists three points or more; return whether there was any.

    Args:
        texts: lists of rings, changed in place.
        owners, lengths: ``(R,)`` int64, see ``_parse``.
    """
    counts = np.bincount(owners, minlength=len(texts))
    points = np.bincount(owners[lengths == 2], minlength=len(texts))
    found = np.flatnonzero((counts == points) & (counts >= 3)).tolist()
    for i in found:
        texts[i] = b'[[' + texts[i].translate(None, b'[]') + b']]'
    return bool(found)


def read_bitmaps(texts: Sequence[bytes]) -> Bitmaps:
    """Read segmentations that are run lengths; others count as none."""
    owners, sizes, counts = [], [], []
    broken: dict[int, str] = {}
    for owner, text in enumerate(texts):
        if text[:1] != b'{':
            continue
        try:
            rle = _DECODER.decode(text)
        except (msgspec.MsgspecError, RecursionError):
            broken[owner] = _NO_BITMAP
            continue
        height, width = rle.size
        possible = 0 < height < _LARGEST_SIDE and 0 < width < _LARGEST_SIDE and height * width < 1 << 32
        compressed = _compress(rle.counts, height, width) if possible else None
        if compressed is None:
            broken[owner] = _BROKEN
            continue
        owners.append(owner)
        sizes.append((height, width))
        counts.append(compressed)
    totals, areas = measure_rles(counts)
    size_array = np.array(sizes, np.int64).reshape(-1, 2)
    good = totals == size_array.prod(1)
    broken |= {owners[i]: _BROKEN for i in np.flatnonzero(~good)}
    owner_array, empty = np.array(owners, np.int64), good & (areas == 0)
    good &= ~empty
    kept = [text for text, keep in zip(counts, good.tolist(), strict=True) if keep]
    return Bitmaps(owner_array[good], size_array[good], kept, areas[good], broken, owner_array[empty])


def _compress(counts: str | list[int], height: int, width: int) -> bytes | None:
    """Return compressed run lengths, None where plain ones do not make up the size."""
    if isinstance(counts, str):
        return counts.encode('ascii') if counts.isascii() else None
    if min(counts, default=-1) < 0 or sum(counts) != height * width:
        return None
    return mask_utils.frPyObjects({'size': [height, width], 'counts': counts}, height, width)['counts']
