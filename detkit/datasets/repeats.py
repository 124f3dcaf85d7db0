"""Objects that are the same as an earlier one of their image."""

from __future__ import annotations

import numpy as np

from detkit.datasets.flat_annotations import FlatAnnotations

__all__ = ['alike_rows', 'find_repeats']

# An odd number with as many ones as zeros, to mix bits with.
_MIXER = np.uint64(0x9E3779B97F4A7C15)


def alike_rows(keys: np.ndarray) -> np.ndarray:
    """Return the ascending indices of rows ``(N, C)`` float64 that may equal another one, few of them by chance."""
    mixed = (keys + 0.0).view(np.uint64) @ (np.arange(1, 2 * keys.shape[1], 2, np.uint64) * _MIXER)
    order = np.argsort(mixed, kind='stable')
    same = mixed[order][1:] == mixed[order][:-1]
    return np.union1d(order[1:][same], order[:-1][same])


def find_repeats(objects: FlatAnnotations) -> np.ndarray:
    """Return ``(N,)`` bool: objects that equal an earlier one in all but their stated areas."""
    repeats = np.zeros(len(objects.labels), bool)
    keys = np.column_stack([objects.images, objects.labels, objects.ignored, objects.bboxes]).astype(np.float64)
    candidates = alike_rows(keys)  # few: only those are compared in full
    chosen = np.zeros(len(repeats), bool)
    chosen[candidates] = True
    part = objects.select(chosen)
    ring_ends = np.searchsorted(part.ring_owners, np.arange(len(candidates) + 1))
    point_ends = np.concatenate([[0], np.cumsum(part.ring_sizes)])[ring_ends]
    bitmaps = dict(zip(part.rle_owners.tolist(), part.rle_counts, strict=True))
    columns = [part.keypoints, part.rbboxes, part.segment_ids, *part.values.values()]
    columns = [column for column in columns if column is not None]
    seen: set[tuple] = set()
    for number, i in enumerate(candidates.tolist()):
        whole = (
            *keys[i].tolist(),
            part.ring_sizes[ring_ends[number] : ring_ends[number + 1]].tobytes(),
            part.points[point_ends[number] : point_ends[number + 1]].tobytes(),
            bitmaps.get(number),
            *(column[number].tobytes() for column in columns),
        )
        repeats[i] = whole in seen
        seen.add(whole)
    return repeats
