"""Near-duplicate images: perceptual hashes, and groups of images whose hashes differ little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from detkit.utils.errors import ConfigError

_SIDE = 32  # of the picture that is transformed
_KEPT = 8  # of its lowest frequencies, each way
_THUMB = 16  # side of the picture that confirms what the hashes suggest
_BITS = _KEPT * _KEPT
_FLAT = 2.0  # grey levels of spread below which a small picture shows nothing

# Readings of a JPEG at a fraction of its size cost a fraction of the time.
_REDUCED = (
    (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
    (1, cv2.IMREAD_GRAYSCALE),
)
_LEAST_SIDE = 128  # that a reduced reading must leave
_NUM_THREADS = 4  # files read at a time
_MIN_CORRELATION = 0.9  # of the grey levels of two thumbnails that look the same
_MAX_PAIRS = 1_000_000  # that are kept at a time
_COUNTS = np.array([bin(byte).count('1') for byte in range(256)], np.uint8)


@dataclass
class ImageHashes:
    """Hashes and thumbnails of N images.

    Attributes:
        bits: ``(N,)`` uint64.
        thumbs: ``(N, 16, 16)`` uint8 grey.
        readable: ``(N,)`` bool; the hashes of other images mean nothing.
    """

    bits: np.ndarray
    thumbs: np.ndarray
    readable: np.ndarray

    def __len__(self) -> int:
        return len(self.bits)


def perceptual_hash(grey: np.ndarray) -> int:
    """Return 64 bits for a grey image ``(h, w)`` uint8: which of its lowest 8 x 8 frequencies exceed their median.

    Scaling, compression and slight changes of brightness flip few bits. After Zauner (2010), "Implementation and
    benchmarking of perceptual image hash functions", section 3.2.1, with the lowest frequency, the mean, left out of
    the median.
    """
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_KEPT, :_KEPT].ravel()
    return int.from_bytes(np.packbits(low > np.median(low[1:])).tobytes(), 'big')


def hash_images(paths: Sequence[str], shapes: Sequence[tuple[int, int] | None]) -> ImageHashes:
    """Read images in grey, as small as their format allows, and hash them.

    Args:
        paths: files.
        shapes: (h, w) of each image or None; it decides how small the image may be read.
    """
    hashes = ImageHashes(
        np.zeros(len(paths), np.uint64), np.zeros((len(paths), _THUMB, _THUMB), np.uint8), np.zeros(len(paths), bool)
    )

    def read(index: int) -> None:
        grey = _read_grey(paths[index], shapes[index])
        if grey is not None:
            hashes.bits[index] = perceptual_hash(grey)
            hashes.thumbs[index] = cv2.resize(grey, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)
            hashes.readable[index] = True

    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        for _ in pool.map(read, range(len(paths))):
            pass
    return hashes


def find_near_duplicates(hashes: ImageHashes, max_distance: int = 6) -> list[np.ndarray]:
    """Return groups of images that look the same.

    Two images do if their hashes differ in few bits and their thumbnails correlate; the latter separates pictures of
    the same composition, such as a sky above a field, which hashes alone may confuse. Images of a uniform grey, which
    have no correlation, look the same if their means are close. Groups are the connected components of such pairs.

    Args:
        hashes: hashes of all images.
        max_distance: bits that may differ, up to 15.

    Returns:
        Ascending indices of each group of two or more images; the groups are sorted by their first image.
    """
    if not 0 <= max_distance <= 15:
        raise ConfigError(f'two alike images may differ in 0 to 15 of {_BITS} bits, not {max_distance}')
    readable = np.flatnonzero(hashes.readable)
    pairs, num_pairs = [], 0
    for first, second in _near_pairs(hashes.bits[readable], max_distance):
        similar = _correlate(hashes.thumbs[readable[first]], hashes.thumbs[readable[second]]) >= _MIN_CORRELATION
        pairs.append(np.stack([first[similar], second[similar]]))
        num_pairs += pairs[-1].shape[1]
        if num_pairs > _MAX_PAIRS:  # n copies of an image are n² / 2 pairs, of which n say all
            group = _connected(pairs, len(readable))
            _, first_members = np.unique(group, return_index=True)
            pairs, num_pairs = [np.stack([np.arange(len(readable)), first_members[group]])], 0
    group = _connected(pairs, len(readable))
    order = np.argsort(group, kind='stable')
    parts = np.split(readable[order], np.cumsum(np.bincount(group))[:-1])
    return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))


def _connected(pairs: list[np.ndarray], number: int) -> np.ndarray:
    """Return the group of each of so many images, ``(number,)``, that ``(2, P)`` pairs link."""
    first, second = np.concatenate([np.zeros((2, 0), np.int64), *pairs], 1)
    graph = coo_array((np.ones(len(first), bool), (first, second)), (number, number))
    return connected_components(graph, directed=False)[1]


def _near_pairs(hashes: np.ndarray, max_distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of indices whose hashes differ in at most so many bits, in portions; a pair may come more than once.

    Two such hashes agree in at least one of ``max_distance + 1`` parts of their bits, so only hashes that share a part
    are compared: they are sorted by the part, and each is compared with those after it that have the same part.
    """
    edges = np.linspace(0, _BITS, max_distance + 2).astype(np.int64)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(part, kind='stable')
        ordered = part[order]
        alive = np.arange(len(order) - 1)
        step = 1
        while len(alive):
            alive = alive[alive + step < len(order)]
            alive = alive[ordered[alive] == ordered[alive + step]]
            one, other = order[alive], order[alive + step]
            near = hamming_distances(hashes[one], hashes[other]) <= max_distance
            if near.any():
                yield one[near], other[near]
            step += 1


def hamming_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Count the bits in which ``(N,)`` uint64 differ from ``(N,)`` others, ``(N,)``."""
    differing = np.bitwise_xor(first, second)
    return _COUNTS[differing.view(np.uint8).reshape(-1, 8)].sum(1, dtype=np.int64)


def _correlate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return correlations ``(N,)`` of ``(N, h, w)`` grey pictures; 1 or 0 for two of a uniform grey, equal or not."""
    flat = [of.reshape(len(of), -1).astype(np.float32) for of in (first, second)]
    means = [of.mean(1) for of in flat]
    flat = [of - mean[:, None] for of, mean in zip(flat, means, strict=True)]
    spreads = [np.sqrt((of**2).mean(1)) for of in flat]
    correlations = (flat[0] * flat[1]).mean(1) / np.maximum(spreads[0] * spreads[1], 1e-6)
    both_flat = np.maximum(*spreads) < _FLAT
    return np.where(both_flat, np.abs(means[0] - means[1]) < _FLAT, correlations)


def _read_grey(path: str, shape: tuple[int, int] | None) -> np.ndarray | None:
    """Read an image upright and perhaps smaller; return None if it cannot be read."""
    side = 0 if shape is None else min(shape)
    flag = next((flag for factor, flag in _REDUCED if side >= factor * _LEAST_SIDE), cv2.IMREAD_GRAYSCALE)
    try:
        data = np.fromfile(path, np.uint8)
        return cv2.imdecode(data, flag) if data.size else None
    except (OSError, cv2.error):
        return None
