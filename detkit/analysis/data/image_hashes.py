"""Near-duplicate images: perceptual hashes, and groups of images whose hashes differ little, in any orientation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from detkit.analysis.data.orientations import COMPOSED, INVERSE, orient, orient_frequencies
from detkit.datasets.image_readers import has_reader
from detkit.datasets.transforms.loading import UnreadableImageError, read_image, read_image_bytes
from detkit.utils.errors import ConfigError
from detkit.utils.progress import track

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
_MIN_TURNED_CORRELATION = 0.95  # once one is turned: seven times as many comparisons, so more agree by chance
_MAX_PAIRS = 100_000  # that are kept at a time
# A rotation by 270° of one image is one by 90° of the other.
_COMPARED_ORIENTATIONS = (0, 1, 2, 3, 4, 5, 7)
_COUNTS = np.array([bin(byte).count('1') for byte in range(256)], np.uint8)


@dataclass
class ImageHashes:
    """Hashes and thumbnails of N images.

    Attributes:
        bits: ``(N, 8)`` uint64, the hash of the image in each orientation.
        thumbs: ``(N, 16, 16)`` uint8 grey.
        readable: ``(N,)`` bool; the hashes of other images mean nothing.
    """

    bits: np.ndarray
    thumbs: np.ndarray
    readable: np.ndarray

    def __len__(self) -> int:
        return len(self.bits)


@dataclass(frozen=True)
class ImageGroup:
    """Images that look the same once they are turned.

    Attributes:
        indices: ``(n,)`` ascending, at least two.
        orientations: ``(n,)``, the orientation that takes the first image to each; see ``orientations``.
    """

    indices: np.ndarray
    orientations: np.ndarray


def perceptual_hashes(grey: np.ndarray) -> np.ndarray:
    """Return 64 bits for each orientation of a grey image ``(h, w)`` uint8, ``(8,)`` uint64.

    The bits say which of the image's lowest 8 x 8 frequencies exceed their median. Scaling, compression and slight
    changes of brightness flip few of them. After Zauner (2010), "Implementation and benchmarking of perceptual image
    hash functions", section 3.2.1, with the lowest frequency, the mean, left out of the median. The image is
    transformed once: mirroring changes signs of frequencies, transposing exchanges them.
    """
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_KEPT, :_KEPT]
    turned = np.stack([orient_frequencies(low, orientation).ravel() for orientation in range(8)])  # (8, 64)
    bits = turned > np.sort(turned[:, 1:], 1)[:, _BITS // 2 - 1, None]  # the median of 63
    return np.packbits(bits, 1).view('>u8')[:, 0].astype(np.uint64)


def hash_images(paths: Sequence[str], shapes: Sequence[tuple[int, int] | None]) -> ImageHashes:
    """Read images in grey, as small as their format allows, and hash them.

    Args:
        paths: files.
        shapes: (h, w) of each image or None; it decides how small the image may be read.
    """
    hashes = ImageHashes(
        np.zeros((len(paths), 8), np.uint64),
        np.zeros((len(paths), _THUMB, _THUMB), np.uint8),
        np.zeros(len(paths), bool),
    )

    def read(index: int) -> None:
        grey = _read_grey(paths[index], shapes[index])
        if grey is not None:
            hashes.bits[index] = perceptual_hashes(grey)
            hashes.thumbs[index] = cv2.resize(grey, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)
            hashes.readable[index] = True

    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        for _ in track(pool.map(read, range(len(paths))), 'hash images', len(paths)):
            pass
    return hashes


def find_near_duplicates(hashes: ImageHashes, max_distance: int = 6) -> list[ImageGroup]:
    """Return groups of images that look the same, as they are or mirrored or rotated by quarter turns.

    Two images do if their hashes differ in few bits and their thumbnails correlate; the latter separates pictures of
    the same composition, such as a sky above a field, which hashes alone may confuse. Images of a uniform grey, which
    have no correlation, look the same if their means are close. Groups are the connected components of such pairs.

    Args:
        hashes: hashes of all images.
        max_distance: bits that may differ, up to 15.

    Returns:
        The groups, sorted by their first image.
    """
    if not 0 <= max_distance <= 15:
        raise ConfigError(f'two alike images may differ in 0 to 15 of {_BITS} bits, not {max_distance}')
    readable = np.flatnonzero(hashes.readable)
    # Exact copies, such as black frames, would be compared with each other again and again.
    pixels = hashes.thumbs[readable].reshape(len(readable), _THUMB**2)
    distinct, copy_of = np.unique(pixels, axis=0, return_inverse=True)
    copy_of = copy_of.reshape(-1)
    kept = np.zeros(len(distinct), np.int64)
    kept[copy_of[::-1]] = np.arange(len(readable))[::-1]  # the first copy of each
    originals = readable[kept]
    edges = _same_thumbnails(kept[copy_of])
    connected = np.arange(len(originals))  # a number that images have in common once they are known to be alike
    for portion in _turned_pairs(hashes.bits[originals], hashes.thumbs[originals], max_distance, connected):
        edges = np.concatenate([edges, _ordered(kept[portion[0]], kept[portion[1]], portion[2])], 1)
        if edges.shape[1] > max(_MAX_PAIRS, 2 * len(readable)):  # n alike images are n² / 2 pairs, of which n say all
            edges = _spanning_edges(edges, len(readable))
            graph = coo_array((np.ones(edges.shape[1], bool), (edges[0], edges[1])), (len(readable), len(readable)))
            connected[:] = connected_components(graph, directed=False)[1][kept]
    groups = _groups(_spanning_edges(edges, len(readable)), len(readable))
    return [ImageGroup(readable[group.indices], group.orientations) for group in groups]


def _same_thumbnails(first_copies: np.ndarray) -> np.ndarray:
    """Return edges ``(3, E)`` from the first copy of each image to the image."""
    later = np.flatnonzero(first_copies != np.arange(len(first_copies)))
    return np.stack([first_copies[later], later, np.zeros(len(later), np.int64)])


def _turned_pairs(
    bits: np.ndarray, thumbs: np.ndarray, max_distance: int, connected: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield edges ``(3, P)``: two indices and the orientation that takes the second image to the first.

    Images whose numbers in ``connected (N,)`` are equal, which the caller may change meanwhile, are not compared again.
    """
    shows_something = thumbs.reshape(len(thumbs), _THUMB**2).std(1) >= _FLAT
    for orientation in _COMPARED_ORIENTATIONS:
        # Flat images look the same in every orientation.
        used = np.flatnonzero(shows_something) if orientation else np.arange(len(thumbs))
        for one, other in _near_pairs(bits[used, 0], bits[used, orientation], max_distance):
            first, second = used[one], used[other]
            different = first < second if orientation == 0 else first != second
            different &= connected[first] != connected[second]
            if not different.any():
                continue
            first, second = first[different], second[different]
            least = _MIN_TURNED_CORRELATION if orientation else _MIN_CORRELATION
            similar = _correlate(thumbs[first], orient(thumbs[second], orientation)) >= least
            first, second = first[similar], second[similar]
            yield np.stack([first, second, np.full(len(first), orientation)])


def _ordered(first: np.ndarray, second: np.ndarray, orientations: np.ndarray) -> np.ndarray:
    """Return edges ``(3, P)`` whose first index is the lower one; orientations then take the first to the second."""
    swapped = first < second
    return np.stack(
        [np.minimum(first, second), np.maximum(first, second), np.where(swapped, INVERSE[orientations], orientations)]
    )


def _spanning_edges(edges: np.ndarray, number: int) -> np.ndarray:
    """Return those of the edges ``(3, E)`` that connect all that is connected, with few changes of orientation."""
    ordered = edges[:, np.lexsort(edges[::-1])]
    first, second, orientations = ordered
    new = np.ones(len(first), bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])  # the lowest orientation of a pair comes first
    weights = orientations[new] + 1
    pairs = ordered[:2, new].astype(np.int32)  # all that SciPy below 1.16 takes
    tree = minimum_spanning_tree(coo_array((weights, tuple(pairs)), (number, number))).tocoo()
    return np.stack([tree.row, tree.col, tree.data - 1]).astype(np.int64)


def _groups(edges: np.ndarray, number: int) -> list[ImageGroup]:
    """Return the trees of a forest of edges ``(3, E)`` as groups, sorted by their first image."""
    neighbours: dict[int, list[tuple[int, int]]] = {}
    for first, second, orientation in edges.T.tolist():
        neighbours.setdefault(first, []).append((second, orientation))
        neighbours.setdefault(second, []).append((first, int(INVERSE[orientation])))
    groups, reached = [], np.full(number, -1)
    for root in sorted(neighbours):
        if reached[root] >= 0:
            continue
        reached[root] = 0
        members = [root]
        for image in members:  # grows meanwhile
            for neighbour, orientation in neighbours[image]:
                if reached[neighbour] < 0:
                    reached[neighbour] = COMPOSED[reached[image], orientation]
                    members.append(neighbour)
        indices = np.sort(members)
        groups.append(ImageGroup(indices, reached[indices]))
    return groups


def _near_pairs(hashes: np.ndarray, others: np.ndarray, max_distance: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of indices of both arrays whose hashes differ in at most so many bits; a pair may come again.

    If the bits are divided into ``max_distance + 2`` parts, two such hashes agree in at least two of these. So only
    hashes that agree in two parts are compared, for each choice of two: one array is sorted by the parts, and each hash
    of the other array looks up those that agree with it.
    """
    edges = np.linspace(0, _BITS, max_distance + 3).astype(int).tolist()
    parts = [(1 << high) - (1 << low) for low, high in itertools.pairwise(edges)]
    for one_part, other_part in itertools.combinations(parts, 2):
        mask = np.uint64(one_part | other_part)
        keys = hashes & mask
        ordered_keys = others & mask
        order = np.argsort(ordered_keys)
        ordered_keys = ordered_keys[order]
        starts, stops = (np.searchsorted(ordered_keys, keys, side) for side in ('left', 'right'))
        alive = np.flatnonzero(starts < stops)
        while len(alive):
            candidates = order[starts[alive]]
            near = hamming_distances(hashes[alive], others[candidates]) <= max_distance
            if near.any():
                yield alive[near], candidates[near]
            starts[alive] += 1
            alive = alive[starts[alive] < stops[alive]]


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
        if has_reader(path):
            return cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY)
        return cv2.imdecode(read_image_bytes(path), flag)
    except (UnreadableImageError, cv2.error):
        return None
