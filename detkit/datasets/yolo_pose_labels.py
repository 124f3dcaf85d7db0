"""Reading YOLO label files with keypoints.

A line is ``class cx cy w h x1 y1 v1 x2 y2 v2 ...`` or, without visibility, ``class cx cy w h x1 y1 x2 y2 ...``; all
coordinates are divided by the image's width and height.
"""

from __future__ import annotations

import numpy as np

from detkit.datasets.yolo_labels import TOLERANCE, LabelTable, Lines, find_repeats
from detkit.structures.bboxes import cxcywh_to_xyxy


def parse_keypoints(lines: Lines, num_classes: int | None, keypoint_shape: tuple[int, int]) -> LabelTable:
    """Reads boxes with keypoints, for ``parse_labels``.

    A keypoint of two values counts as labelled unless a coordinate is negative. Where a keypoint is not labelled, its
    coordinates mean nothing and may be anything. An object may have no labelled keypoint at all.

    Args:
        lines: what the files hold.
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
    """``(L, K, 2)`` coordinates and ``(L, K)`` visibilities, at least 0."""
    num_keypoints, num_values = keypoint_shape
    values = lines.values.reshape(-1, 5 + num_keypoints * num_values)[:, 5:].reshape(-1, num_keypoints, num_values)
    if num_values == 3:
        return values[..., :2], values[..., 2].clip(0)
    return values, (values >= 0).all(2).astype(np.float64)
