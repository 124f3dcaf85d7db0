"""Reading YOLO label files with rotated boxes.

A line is ``class x1 y1 x2 y2 x3 y3 x4 y4``: four corners in order around the object, divided by the image's width and
height. An object at the border may have corners outside the image; it is kept as it is.
"""

from __future__ import annotations

import numpy as np

from detkit.datasets.yolo_labels import LabelTable, Lines, find_repeats
from detkit.structures.polygons import Polygons

# Twice the area of the largest triangle of a quadrilateral, in units of the image's; below it, it is a line or a point.
_LEAST_AREA = 1e-9


def parse_corners(lines: Lines, num_classes: int | None) -> LabelTable:
    """Reads quadrilaterals, for ``parse_labels``.

    Objects of which nothing is inside the image are dropped with the lines that break a rule.

    Args:
        lines: what the files hold.
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
    """``(N,)`` bool: which quadrilaterals ``(N, 4, 2)`` have all corners on one line."""
    a, b, c = (corners[:, i] - corners[:, 0] for i in (1, 2, 3))
    largest = np.max([np.abs(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]) for p, q in ((a, b), (b, c), (a, c))], axis=0)
    return largest < _LEAST_AREA


def visible_hulls(corners: np.ndarray, rect: tuple[float, float, float, float]) -> np.ndarray:
    """``(N, 4)`` xyxy around the parts of quadrilaterals ``(N, 4, 2)`` inside ``rect``; zeros where there is none."""
    count = len(corners)
    outlines = Polygons(corners.reshape(-1, 2), np.full(count, 4), np.arange(count)).clip(rect)
    hulls = outlines.bboxes(count)
    return hulls * (hulls[:, 2:] > hulls[:, :2]).all(1, keepdims=True)


def _corners(lines: Lines) -> np.ndarray:
    return lines.values.reshape(-1, 9)[:, 1:].reshape(-1, 4, 2)
