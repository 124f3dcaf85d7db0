"""Reading YOLO label files, thousands at a time.

A line is ``class cx cy w h`` (a box) or ``class x1 y1 x2 y2 x3 y3 ...`` (an outline of three points or more), all
coordinates divided by the image's width and height. One file may hold both kinds. The numbers of many files are
taken apart in one go, and every rule is applied to all lines at once: no Python loop runs over lines or numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from detkit.datasets.box_forms import BEYOND, CORNERS, look_like_corners, reach_beyond
from detkit.datasets.formats.yolo_lines import TOLERANCE, LineNote, Lines
from detkit.structures.bboxes import cxcywh_to_xyxy
from detkit.structures.polygons import Polygons
from detkit.utils.numbers import count_text

# Bytes of text parsed at a time, which bounds the memory that a large dataset needs.
_CHUNK_BYTES = 8 << 20
# Twice the area of the largest triangle of a quadrilateral, in units of the image's; below it, it is a line or a point.
_LEAST_AREA = 1e-9
# Corners farther out than this many images are no corners, and their products overflow.
_FARTHEST = 1e6
_IMAGE = (0.0, 0.0, 1.0, 1.0)
_REPEATED = 'the same as an earlier line'
# By the number of values of a keypoint.
_AT_ORIGIN = {
    2: 'keypoints at 0 0, which count as labelled: write -1 -1, or visibilities (kpt_shape: [K, 3]), where not',
    3: 'keypoints at 0 0 with a visibility, which count as labelled: write the visibility 0 where not',
}


@dataclass
class LabelTable:
    """The objects of F label files, in the order of files and lines.

    Attributes:
        files: ``(N,)`` int64, index of the file that holds the object.
        labels: ``(N,)`` int64.
        bboxes: ``(N, 4)`` float64 xyxy, divided by the image's size, inside [0, 1].
        ring_sizes: ``(N,)`` int64, the number of points of an object's outline, 0 for a box.
        points: ``(P, 2)`` float64, all outlines' points in a row, divided by the image's size, inside [0, 1].
        skipped: every line that was dropped because it is broken.
        unused: lines that repeat an earlier one of their file, comments, and keypoints that were not asked for.
        keypoints: ``(N, K, 3)`` float64 x, y divided by the image's size, visibility; None where lines have none.
    """

    files: np.ndarray
    labels: np.ndarray
    bboxes: np.ndarray
    ring_sizes: np.ndarray
    points: np.ndarray
    skipped: list[LineNote]
    unused: list[LineNote]
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

    def numbered(notes: str) -> list[LineNote]:
        return [note._replace(file=first + note.file) for first, table in tables for note in getattr(table, notes)]

    return LabelTable(
        files=np.concatenate([first + table.files for first, table in tables]),
        **columns,
        skipped=numbered('skipped'),
        unused=numbered('unused'),
    )


def parse_outlines(lines: Lines, num_classes: int | None, keypoint_shape: tuple[int, int] | None = None) -> LabelTable:
    """Read boxes and outlines, for ``parse_labels``.

    An outline of four points may lie partly outside the image, as the corners of rotated boxes do; it is clipped.

    Args:
        lines: the lines of the files.
        num_classes: class ids must be below it; None for no limit.
        keypoint_shape: (K, D) where the dataset has keypoints: of lines that hold them the box is read.
    """
    if keypoint_shape is not None:
        _cut_keypoints(lines, keypoint_shape)
    lines.drop_other_counts(
        (lines.counts == 5) | ((lines.counts >= 7) & (lines.counts % 2 == 1)),
        'a box has 5 and an outline an odd number from 7 on',
        partial(_guess_outline, lines),
    )
    lines.drop_bad_ids(num_classes)
    _drop_unnamed_keypoints(lines)
    points, starts = lines.points()
    partly = outside = any_by_line((points < -TOLERANCE) | (points > 1 + TOLERANCE), starts)
    if outside.any():
        largest = _reduce(np.maximum, np.abs(points), starts).max(1)
        partly = outside & (lines.counts == 9) & (largest <= _FARTHEST)
        partly[partly] = visible_hulls(_points_of(lines, points, partly).reshape(-1, 4, 2), _IMAGE).any(1)
        lines.drop_far_out(outside & ~partly, largest, 'a coordinate')
        partly = partly[~outside | partly]
        points, starts = lines.points()
    quads = _points_of(lines, points, partly)
    hulls = visible_hulls(quads.reshape(-1, 4, 2), _IMAGE)
    sizes = (lines.counts - 1) // 2
    points = points.clip(0, 1)
    points[np.repeat(partly, sizes)] = quads
    polygon = lines.counts > 5
    bboxes = np.concatenate([_reduce(np.minimum, points, starts), _reduce(np.maximum, points, starts)], 1)
    bboxes[partly] = hulls
    centres, half = points[starts[~polygon]], points[starts[~polygon] + 1] / 2
    bboxes[~polygon] = np.concatenate([centres - half, centres + half], 1)
    keep = _find_good(lines, bboxes, ~polygon)

    outlined = polygon & keep
    outlines = Polygons(_points_of(lines, points, outlined), sizes[outlined], np.flatnonzero(outlined))
    if partly.any():
        outlines = outlines.clip(_IMAGE)
    ring_sizes = np.zeros(len(keep), np.int64)
    ring_sizes[outlines.ring_owners] = outlines.ring_sizes
    return LabelTable(
        files=lines.files[keep],
        labels=lines.labels[keep],
        bboxes=bboxes[keep],
        ring_sizes=ring_sizes[keep],
        points=outlines.points,
        skipped=sorted(lines.skipped),
        unused=sorted(lines.unused),
    )


def _points_of(lines: Lines, points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return those of ``lines.points()`` that belong to the lines in ``mask``."""
    return points[np.repeat(mask, (lines.counts - 1) // 2)]


def _guess_outline(lines: Lines, count: int) -> str:
    """Return what a line of a wrong number of values seems to be, and what to do."""
    if count == 6:
        return 'a box and a confidence, as predictions have it? Leave the confidence out'
    if count == 10:
        return 'four corners and a confidence, as predictions have it? Leave the confidence out'
    num_keypoints, rest = divmod(count - 5, 3)
    if num_keypoints > 0 and not rest and np.isin(lines.rows(count)[:, 7::3], (0, 1, 2)).all():
        return (
            f'a box with {count_text(num_keypoints, "keypoint")}? Set kpt_shape: [{num_keypoints}, 3] in the data yaml'
        )
    return 'an outline with a coordinate too many or too few?' if count > 6 else ''


def _cut_keypoints(lines: Lines, keypoint_shape: tuple[int, int]) -> None:
    """Leave of lines with keypoints the box alone."""
    with_keypoints = lines.counts == 5 + keypoint_shape[0] * keypoint_shape[1]
    if with_keypoints.any():
        lines.unused += lines.summarise(
            with_keypoints, 'keypoints that this dataset is not asked for: the box alone is read'
        )
        lines.cut(with_keypoints, 5)


def _drop_unnamed_keypoints(lines: Lines) -> None:
    """Drop lines that are boxes with keypoints for all their numbers show, though their length fits an outline."""
    lengths = np.unique(lines.counts[lines.counts > 5])
    if len(lengths) != 1:  # all objects of a dataset have the same number of keypoints
        return
    length = int(lengths[0])
    rows = lines.rows(length)
    for num_values in (3, 2):
        num_keypoints, rest = divmod(length - 5, num_values)
        if rest or num_keypoints < 2 or not _are_keypoints(rows, num_values):
            continue
        lines.drop(
            lines.counts == length,
            f'{length} values that look like a box with {num_keypoints} keypoints, no outline: set '
            f'kpt_shape: [{num_keypoints}, {num_values}] in the data yaml',
        )
        return


def _are_keypoints(rows: np.ndarray, num_values: int) -> bool:
    """Return whether ``(M, 5 + K * D)`` lines are boxes with keypoints sooner than outlines.

    In an outline no visibilities stand in every third column; and its second point, which would be a box's width and
    height, is near its other points, in a dataset of keypoints only where chance has it.
    """
    bboxes = cxcywh_to_xyxy(rows[:, 1:5])
    keypoints = rows[:, 5:].reshape(len(rows), -1, num_values)
    if ((bboxes < -TOLERANCE) | (bboxes > 1 + TOLERANCE)).any() or (rows[:, 3:5] <= 0).any():
        return False
    if num_values == 3:
        return bool(np.isin(keypoints[..., 2], (0, 1, 2)).all())
    if len(rows) < 4 or keypoints.shape[1] < 3:
        return False
    low, high = keypoints.min(1), keypoints.max(1)
    inside = ((low >= bboxes[:, :2] - TOLERANCE) & (high <= bboxes[:, 2:] + TOLERANCE)).all(1)
    far = (np.abs(rows[:, 3:5] - (low + high) / 2) > high - low).any(1)
    return bool(inside.mean() >= 0.9 and far.mean() >= 1 / 3)


def _find_good(lines: Lines, bboxes: np.ndarray, written: np.ndarray) -> np.ndarray:
    """Return ``(L,)`` bool: the lines whose box has an area and that repeat no other; note the rest.

    Args:
        lines: the lines.
        bboxes: ``(L, 4)`` xyxy, cut off at the image's border in place.
        written: ``(L,)`` bool, the lines that hold ``cx cy w h``, in order.
    """
    beyond = written & reach_beyond(bboxes, np.ones(2), TOLERANCE)
    boxes = bboxes[written]
    cxcywh = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
    bboxes.clip(0, 1, out=bboxes)
    empty = (bboxes[:, 2:] <= bboxes[:, :2]).any(1)
    repeats = find_repeats(lines, bboxes) & ~empty
    lines.skipped += lines.describe(empty, 'a box of no width or no height')
    lines.unused += lines.describe(repeats, _REPEATED)
    wrong = empty | repeats
    if look_like_corners(cxcywh, beyond[written]):
        lines.skipped += lines.describe(written & ~wrong, f'a box that {CORNERS}')
        return ~(wrong | written)
    lines.unused += lines.summarise(beyond & ~wrong, BEYOND)
    return ~wrong


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


def parse_corners(lines: Lines, num_classes: int | None) -> LabelTable:
    """Read quadrilaterals, for ``parse_labels``.

    Objects of which nothing is inside the image are dropped with the lines that break a rule.

    Args:
        lines: the lines of the files.
        num_classes: class ids must be below it; None for no limit.

    Returns:
        outlines of four points each, which may lie outside [0, 1]; ``bboxes`` surround the part inside.
    """
    lines.drop_other_counts(lines.counts == 9, 'a class and four corners have 9', _guess_corners)
    lines.drop_bad_ids(num_classes)
    largest = np.abs(_corners(lines)).max((1, 2), initial=0)
    lines.drop_far_out(largest > _FARTHEST, largest, 'a corner')
    lines.drop(flat_quads(_corners(lines)), 'four corners without an area')
    hidden = (visible_hulls(_corners(lines), _IMAGE) == 0).all(1)
    lines.drop(hidden, 'four corners outside the image; they are divided by its width and height')
    bboxes = visible_hulls(_corners(lines), _IMAGE)
    repeats = find_repeats(lines, bboxes)
    lines.unused += lines.describe(repeats, _REPEATED)
    corners, keep = _corners(lines), ~repeats
    return LabelTable(
        files=lines.files[keep],
        labels=lines.labels[keep],
        bboxes=bboxes[keep],
        ring_sizes=np.full(int(keep.sum()), 4),
        points=corners[keep].reshape(-1, 2),
        skipped=sorted(lines.skipped),
        unused=sorted(lines.unused),
    )


def _guess_corners(count: int) -> str:
    return {
        5: 'a box without an angle? Use a config for detection, det_custom.py',
        6: 'cx cy w h and an angle? Write the four corners instead',
        10: 'corners and a confidence, as predictions have it? Leave the confidence out',
    }.get(count, '')


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
    lines.drop_other_counts(
        lines.counts == length,
        f'a box with {num_keypoints} keypoints of {num_values} values each has {length}',
        partial(_guess_keypoints, keypoint_shape=keypoint_shape),
    )
    lines.drop_bad_ids(num_classes)
    bboxes_cxcywh = lines.rows(length)[:, 1:5]
    outside = ((bboxes_cxcywh < -TOLERANCE) | (bboxes_cxcywh > 1 + TOLERANCE)).any(1)
    lines.drop_far_out(outside, np.abs(bboxes_cxcywh).max(1, initial=0), 'a coordinate of the box')
    points, visibility = _keypoints(lines, keypoint_shape)
    lines.drop(~np.isin(visibility, (0, 1, 2)).all(1), 'a visibility of a keypoint that is not 0, 1 or 2')
    points, visibility = _keypoints(lines, keypoint_shape)
    outside = ((points < -TOLERANCE) | (points > 1 + TOLERANCE)).any(2) & (visibility > 0)
    largest = (np.abs(points).max(2) * (visibility > 0)).max(1, initial=0)
    lines.drop_far_out(outside.any(1), largest, 'a keypoint')

    points, visibility = _keypoints(lines, keypoint_shape)
    bboxes = cxcywh_to_xyxy(lines.rows(length)[:, 1:5].clip(0, 1))
    keep = _find_good(lines, bboxes, np.ones(len(bboxes), bool))
    labelled = visibility > 0
    at_origin = ((points == 0).all(2) & labelled).any(1)
    lines.unused += lines.summarise(at_origin & keep, _AT_ORIGIN[num_values])
    return LabelTable(
        files=lines.files[keep],
        labels=lines.labels[keep],
        bboxes=bboxes[keep],
        ring_sizes=np.zeros(int(keep.sum()), np.int64),
        points=np.zeros((0, 2)),
        skipped=sorted(lines.skipped),
        unused=sorted(lines.unused),
        keypoints=np.concatenate([points.clip(0, 1) * labelled[..., None], visibility[..., None]], 2)[keep],
    )


def _guess_keypoints(count: int, keypoint_shape: tuple[int, int]) -> str:
    num_keypoints, num_values = keypoint_shape
    if count == 5:
        return 'a box without keypoints? Use a config for detection, det_custom.py'
    if count == 5 + num_keypoints * (5 - num_values):
        return f'keypoints of {5 - num_values} values? Set kpt_shape: [{num_keypoints}, {5 - num_values}]'
    return ''


def _keypoints(lines: Lines, keypoint_shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(L, K, 2)`` coordinates and ``(L, K)`` visibilities."""
    num_keypoints, num_values = keypoint_shape
    values = lines.rows(5 + num_keypoints * num_values)[:, 5:].reshape(-1, num_keypoints, num_values)
    if num_values == 3:
        return values[..., :2], values[..., 2]
    return values, (values >= 0).all(2).astype(np.float64)
