"""Reading YOLO label files, thousands at a time.

A line is ``class cx cy w h`` (a box) or ``class x1 y1 x2 y2 x3 y3 ...`` (an outline of three points or more), all
coordinates divided by the image's width and height. One file may hold both kinds. The numbers of many files are
taken apart in one go, and every rule is applied to all lines at once: no Python loop runs over lines or numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from detkit.structures.bboxes import cxcywh_to_xyxy
from detkit.structures.polygons import Polygons

# A coordinate this far beyond [0, 1] is clipped; one that is farther out is no rounding error.
TOLERANCE = 0.01
# Bytes of text parsed at a time, which bounds the memory that a large dataset needs.
_CHUNK_BYTES = 8 << 20


@dataclass
class LabelTable:
    """The objects of F label files, in the order of files and lines.

    Attributes:
        files: ``(N,)`` int64, index of the file that holds the object.
        labels: ``(N,)`` int64.
        bboxes: ``(N, 4)`` float64 xyxy, divided by the image's size, inside [0, 1].
        ring_sizes: ``(N,)`` int64, the number of points of an object's outline, 0 for a box.
        points: ``(P, 2)`` float64, all outlines' points in a row, divided by the image's size, inside [0, 1].
        skipped: (file, line number from 1, reason) of every line that was dropped.
        duplicates: the same for lines that repeat an earlier one of their file.
        keypoints: ``(N, K, 3)`` float64 x, y divided by the image's size, visibility; None where lines have none.
    """

    files: np.ndarray
    labels: np.ndarray
    bboxes: np.ndarray
    ring_sizes: np.ndarray
    points: np.ndarray
    skipped: list[tuple[int, int, str]]
    duplicates: list[tuple[int, int, str]]
    keypoints: np.ndarray | None = None


def parse_labels(
    texts: Sequence[bytes],
    num_classes: int | None,
    parse: Callable[[Lines, int | None], LabelTable] | None = None,
) -> LabelTable:
    """Parse the contents of label files.

    Args:
        texts: the contents of each file.
        num_classes: class ids must be below it; None for no limit.
        parse: reads lines of another kind than ``parse_outlines`` does.
    """
    parse = parse or parse_outlines
    tables, start = [], 0
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    while start < len(texts):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _CHUNK_BYTES, 'right')))
        tables.append((start, parse(Lines(texts[start:stop]), num_classes)))
        start = stop
    if not tables:
        tables = [(0, parse(Lines([b'']), num_classes))]
    columns = {
        name: np.concatenate([getattr(table, name) for _, table in tables])
        for name in ('labels', 'bboxes', 'ring_sizes', 'points', 'keypoints')
        if getattr(tables[0][1], name) is not None
    }

    def numbered(skips: str) -> list[tuple[int, int, str]]:
        return [(first + file, *rest) for first, table in tables for file, *rest in getattr(table, skips)]

    return LabelTable(
        files=np.concatenate([first + table.files for first, table in tables]),
        **columns,
        skipped=numbered('skipped'),
        duplicates=numbered('duplicates'),
    )


def parse_outlines(lines: Lines, num_classes: int | None) -> LabelTable:
    """Read boxes and outlines."""
    lines.drop_non_numbers()
    polygon = (lines.counts >= 7) & (lines.counts % 2 == 1)
    lines.drop(
        ~(polygon | (lines.counts == 5)),
        '{count} values, where a box has 5 and an outline an odd number from 7 on',
    )
    lines.drop_bad_ids(num_classes)
    points, starts = lines.points()
    outside = any_by_line((points < -TOLERANCE) | (points > 1 + TOLERANCE), starts)
    lines.drop(outside, f'a coordinate outside [0, 1] by more than {TOLERANCE:g}')

    points, starts = lines.points()
    points = points.clip(0, 1)
    polygon = lines.counts > 5
    bboxes = np.concatenate([_reduce(np.minimum, points, starts), _reduce(np.maximum, points, starts)], 1)
    centres, half = points[starts[~polygon]], points[starts[~polygon] + 1] / 2
    bboxes[~polygon] = np.concatenate([centres - half, centres + half], 1).clip(0, 1)
    empty = (bboxes[:, 2:] <= bboxes[:, :2]).any(1)
    repeats = find_repeats(lines, bboxes) & ~empty
    duplicates = lines.describe(repeats, 'the same as an earlier line')
    lines.drop(empty, 'a box of no width or no height', record_only=True)

    keep = ~(empty | repeats)
    is_outline_point = np.repeat(polygon & keep, np.diff(starts, append=len(points)))
    return LabelTable(
        files=lines.files[keep],
        labels=lines.values[lines.starts][keep].astype(np.int64),
        bboxes=bboxes[keep],
        ring_sizes=np.where(polygon, (lines.counts - 1) // 2, 0)[keep],
        points=points[is_outline_point],
        skipped=sorted(lines.skipped),
        duplicates=duplicates,
    )


class Lines:
    """The lines of some files that are not blank.

    Args:
        texts: the contents of each file.

    Attributes:
        values: ``(T,)`` float64, all their numbers in a row (NaN for what is no number).
        counts, starts: ``(L,)`` int64, how many numbers a line has and where in ``values`` they start.
        files, numbers: ``(L,)`` int64, a line's file and its number in it, from 1.
        skipped: (file, line number, reason) of the lines dropped so far.
    """

    def __init__(self, texts: Sequence[bytes]) -> None:
        texts = [_clean(text) for text in texts]
        text = b'\n'.join(texts)
        tokens = text.split()
        try:
            self.values = np.fromiter(map(float, tokens), np.float64, len(tokens))
        except ValueError:
            self.values = np.fromiter(map(_float_or_nan, tokens), np.float64, len(tokens))
        characters = np.frombuffer(text, np.uint8)
        blank = (characters == 32) | ((characters >= 9) & (characters <= 13))
        token_starts = np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]])) if len(text) else np.zeros(0, int)
        line_ends = np.flatnonzero(characters == 10)
        token_lines = np.searchsorted(line_ends, token_starts)
        lines, self.counts = np.unique(token_lines, return_counts=True)
        # A file starts where the ones before it, each with a line end behind it, stop.
        file_starts = np.cumsum([0] + [len(text) + 1 for text in texts[:-1]])
        first_lines = np.searchsorted(line_ends, file_starts)
        self.files = np.searchsorted(first_lines, lines, 'right') - 1
        self.numbers = lines - first_lines[self.files] + 1
        self.skipped: list[tuple[int, int, str]] = []

    @property
    def starts(self) -> np.ndarray:
        return np.cumsum(self.counts) - self.counts

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all numbers but the class ids as ``(P, 2)`` pairs, and ``(L,)`` the index of a line's first pair."""
        is_coordinate = np.ones(len(self.values), bool)
        is_coordinate[self.starts] = False
        sizes = (self.counts - 1) // 2
        return self.values[is_coordinate].reshape(-1, 2), np.cumsum(sizes) - sizes

    def describe(self, mask: np.ndarray, reason: str) -> list[tuple[int, int, str]]:
        """Return (file, line number, reason) of the lines in ``mask``."""
        starts = self.starts
        return [
            (int(self.files[i]), int(self.numbers[i]), reason.format(count=self.counts[i], id=self.values[starts[i]]))
            for i in np.flatnonzero(mask)
        ]

    def drop(self, mask: np.ndarray, reason: str, record_only: bool = False) -> None:
        """Take the lines in ``mask`` out and note why."""
        if not mask.any():
            return
        self.skipped += self.describe(mask, reason)
        if record_only:
            return
        self.values = self.values[np.repeat(~mask, self.counts)]
        self.counts, self.files, self.numbers = self.counts[~mask], self.files[~mask], self.numbers[~mask]

    def drop_non_numbers(self) -> None:
        self.drop(~np.logical_and.reduceat(np.isfinite(self.values), self.starts), 'a value that is no number')

    def drop_bad_ids(self, num_classes: int | None) -> None:
        """Drop lines whose class id is no whole number from 0 to ``num_classes`` - 1 (without limit where None)."""
        ids = self.values[self.starts]
        limit = np.inf if num_classes is None else num_classes
        expected = f'a whole number from 0 to {num_classes - 1}' if num_classes else 'a whole number from 0'
        bad = (ids != np.floor(ids)) | (ids < 0) | (ids >= limit)
        self.drop(bad, f'class id {{id:g}}, where {expected} is expected')


def _clean(text: bytes) -> bytes:
    text = text.removeprefix(b'\xef\xbb\xbf')
    return text.replace(b'\r\n', b'\n').replace(b'\r', b'\n') if b'\r' in text else text


def _float_or_nan(token: bytes) -> float:
    try:
        return float(token)
    except ValueError:
        return float('nan')


def _reduce(ufunc: np.ufunc, points: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return ufunc.reduceat(points, starts, axis=0) if len(starts) else np.zeros((0, 2))


def any_by_line(mask: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return ``(L,)`` bool: lines with a value for which ``mask`` holds."""
    return np.logical_or.reduceat(mask.any(1), starts) if len(starts) else np.zeros(0, bool)


def find_repeats(lines: Lines, bboxes: np.ndarray) -> np.ndarray:
    """Return ``(L,)`` bool: lines whose numbers are the same as those of an earlier line of their file."""
    repeats = np.zeros(len(bboxes), bool)
    starts = lines.starts
    # Lines of equal file, length, class and bounding box are few: only those are compared number by number.
    keys = np.column_stack([lines.files, lines.counts, lines.values[starts], bboxes])
    order = np.lexsort(keys.T)
    same_as_previous = (keys[order][1:] == keys[order][:-1]).all(1)
    seen: set[tuple[int, bytes]] = set()
    candidates = np.union1d(order[1:][same_as_previous], order[:-1][same_as_previous])
    for i in candidates:
        key = (int(lines.files[i]), lines.values[starts[i] : starts[i] + lines.counts[i]].tobytes())
        repeats[i] = key in seen
        seen.add(key)
    return repeats


# Twice the area of the largest triangle of a quadrilateral, in units of the image's; below it, it is a line or a point.
_LEAST_AREA = 1e-9


def parse_corners(lines: Lines, num_classes: int | None) -> LabelTable:
    """Read quadrilaterals, for ``parse_labels``.

    Objects of which nothing is inside the image are dropped with the lines that break a rule.

    Args:
        lines: the lines of the files.
        num_classes: class ids must be below it; None for no limit.

    Returns:
        outlines of four points each, which may lie outside [0, 1]; ``bboxes`` surround the part inside.
    """
    lines.drop_non_numbers()
    lines.drop(lines.counts != 9, '{count} values, where a class and four corners have 9')
    lines.drop_bad_ids(num_classes)
    lines.drop(flat_quads(_corners(lines)), 'four corners without an area')
    lines.drop((visible_hulls(_corners(lines), (0, 0, 1, 1)) == 0).all(1), 'four corners outside the image')
    bboxes = visible_hulls(_corners(lines), (0, 0, 1, 1))
    repeats = find_repeats(lines, bboxes)
    corners, keep = _corners(lines), ~repeats
    return LabelTable(
        files=lines.files[keep],
        labels=lines.values[lines.starts][keep].astype(np.int64),
        bboxes=bboxes[keep],
        ring_sizes=np.full(int(keep.sum()), 4),
        points=corners[keep].reshape(-1, 2),
        skipped=sorted(lines.skipped),
        duplicates=lines.describe(repeats, 'the same as an earlier line'),
    )


def flat_quads(corners: np.ndarray) -> np.ndarray:
    """Return ``(N,)`` bool: which quadrilaterals ``(N, 4, 2)`` have all corners on one line."""
    a, b, c = (corners[:, i] - corners[:, 0] for i in (1, 2, 3))
    largest = np.max([np.abs(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]) for p, q in ((a, b), (b, c), (a, c))], axis=0)
    return largest < _LEAST_AREA


def visible_hulls(corners: np.ndarray, rect: tuple[float, float, float, float]) -> np.ndarray:
    """Return ``(N, 4)`` xyxy around the parts of quadrilaterals ``(N, 4, 2)`` inside ``rect``, zeros where empty."""
    count = len(corners)
    outlines = Polygons(corners.reshape(-1, 2), np.full(count, 4), np.arange(count)).clip(rect)
    hulls = outlines.bboxes(count)
    return hulls * (hulls[:, 2:] > hulls[:, :2]).all(1, keepdims=True)


def _corners(lines: Lines) -> np.ndarray:
    return lines.values.reshape(-1, 9)[:, 1:].reshape(-1, 4, 2)


def parse_keypoints(lines: Lines, num_classes: int | None, keypoint_shape: tuple[int, int]) -> LabelTable:
    """Read boxes with keypoints, for ``parse_labels``.

    A keypoint of two values counts as labelled unless a coordinate is negative. Where a keypoint is not labelled, its
    coordinates mean nothing and may be anything. An object may have no labelled keypoint at all.

    Args:
        lines: the lines of the files.
        num_classes: class ids must be below it; None for no limit.
        keypoint_shape: (K, D), D being 2 or 3 values a keypoint.
    """
    num_keypoints, num_values = keypoint_shape
    length = 5 + num_keypoints * num_values
    lines.drop_non_numbers()
    lines.drop(
        lines.counts != length,
        f'{{count}} values, where a box with {num_keypoints} keypoints of {num_values} values each has {length}',
    )
    lines.drop_bad_ids(num_classes)
    bboxes_cxcywh = lines.values.reshape(-1, length)[:, 1:5]
    outside = ((bboxes_cxcywh < -TOLERANCE) | (bboxes_cxcywh > 1 + TOLERANCE)).any(1)
    lines.drop(outside, f'a coordinate of the box outside [0, 1] by more than {TOLERANCE:g}')
    points, visibility = _keypoints(lines, keypoint_shape)
    outside = ((points < -TOLERANCE) | (points > 1 + TOLERANCE)).any(2) & (visibility > 0)
    lines.drop(outside.any(1), f'a keypoint outside [0, 1] by more than {TOLERANCE:g}')

    points, visibility = _keypoints(lines, keypoint_shape)
    bboxes = cxcywh_to_xyxy(lines.values.reshape(-1, length)[:, 1:5].clip(0, 1)).clip(0, 1)
    empty = (bboxes[:, 2:] <= bboxes[:, :2]).any(1)
    repeats = find_repeats(lines, bboxes) & ~empty
    duplicates = lines.describe(repeats, 'the same as an earlier line')
    lines.drop(empty, 'a box of no width or no height', record_only=True)
    keep = ~(empty | repeats)
    labelled = visibility > 0
    return LabelTable(
        files=lines.files[keep],
        labels=lines.values[lines.starts][keep].astype(np.int64),
        bboxes=bboxes[keep],
        ring_sizes=np.zeros(int(keep.sum()), np.int64),
        points=np.zeros((0, 2)),
        skipped=sorted(lines.skipped),
        duplicates=duplicates,
        keypoints=np.concatenate([points.clip(0, 1) * labelled[..., None], visibility[..., None]], 2)[keep],
    )


def _keypoints(lines: Lines, keypoint_shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(L, K, 2)`` coordinates and ``(L, K)`` visibilities, at least 0."""
    num_keypoints, num_values = keypoint_shape
    values = lines.values.reshape(-1, 5 + num_keypoints * num_values)[:, 5:].reshape(-1, num_keypoints, num_values)
    if num_values == 3:
        return values[..., :2], values[..., 2].clip(0)
    return values, (values >= 0).all(2).astype(np.float64)
