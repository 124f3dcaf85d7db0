"""Checking COCO's compressed run lengths, thousands at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Characters of the longest run length that makes sense: 35 bits.
_MOST_CHARACTERS = 7


def measure_rles(counts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return how many pixels bitmaps have, and how many of them are set.

    A run length is written in digits of 5 bits, lowest first, each in a character from '0' to 'o' whose sixth bit says
    that more follow; the last digit carries the sign. From the fourth one on a run length is a difference to the one
    before the last. (pycocotools trusts such text: it reads and writes beyond its arrays where the text is wrong.)

    Args:
        counts: the compressed run lengths of each bitmap.

    Returns:
        ``(Q,)`` int64 pixels, -1 where the text is no bitmap, and ``(Q,)`` int64 pixels that are set.
    """
    count = len(counts)
    lengths = np.fromiter(map(len, counts), np.int64, count)
    digits = np.frombuffer(b''.join(counts), np.uint8).astype(np.int64) - 48
    owners = np.repeat(np.arange(count), lengths)
    broken = lengths == 0
    ends = np.cumsum(lengths)[~broken] - 1
    broken[owners[ends[(digits[ends] & 32) > 0]]] = True
    broken[owners[(digits < 0) | (digits > 63)]] = True
    totals, areas = np.full(count, -1, np.int64), np.zeros(count, np.int64)
    keep = ~broken[owners]
    digits, owners = digits[keep], owners[keep]
    if not len(digits):
        return totals, areas

    last = np.flatnonzero((digits & 32) == 0)  # of each run length
    first = np.concatenate([[0], last[:-1] + 1])
    sizes = last - first + 1
    owners = owners[last]
    broken[owners[sizes > _MOST_CHARACTERS]] = True
    places = np.minimum(np.arange(len(digits)) - np.repeat(first, sizes), _MOST_CHARACTERS)
    runs = np.add.reduceat((digits & 31) << (5 * places), first)
    negative = (digits[last] & 16) > 0
    runs -= negative * (np.int64(1) << (5 * np.minimum(sizes, _MOST_CHARACTERS)))

    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    numbers = np.arange(len(runs)) - np.repeat(starts, np.diff(starts, append=len(runs)))
    chains = np.where(numbers == 0, 0, 2 - numbers % 2)  # the first run; odd ones; even ones
    order = np.lexsort((numbers, chains, owners))
    sums = np.cumsum(runs[order])
    heads = np.flatnonzero(np.diff(owners[order] * 3 + chains[order], prepend=-1))
    before = np.concatenate([[0], sums])[heads]
    runs[order] = sums - np.repeat(before, np.diff(heads, append=len(sums)))

    broken[owners[runs < 0]] = True
    used = owners[starts]
    totals[used] = np.add.reduceat(runs, starts)
    areas[used] = np.add.reduceat(runs * (numbers % 2), starts)
    totals[broken], areas[broken] = -1, 0
    return totals, areas
