"""Boxes that are written in another form than their file's, or that reach beyond their image."""

from __future__ import annotations

import numpy as np

__all__ = ['BEYOND', 'CORNERS', 'KEYPOINT_OUT', 'keypoints_beyond', 'look_like_corners', 'reach_beyond']

# The reason that a reader gives for boxes of another form, behind the box.
CORNERS = (
    'has the third number above the first and the fourth above the second, as all boxes of the data, and many reach '
    'beyond their images: x0, y0, x1, y1 in place of a width and a height?'
)
BEYOND = 'a box that reaches beyond the image: the part inside is used'
KEYPOINT_OUT = 'a labelled keypoint outside of the image: training takes it as not labelled, metrics as labelled'
# Fewer boxes than this show nothing, nor do boxes of which fewer than this share reach out of their images.
_LEAST_BOXES = 10
_LEAST_SHARE = 0.2


def look_like_corners(numbers: np.ndarray, beyond: np.ndarray) -> bool:
    """Return whether boxes that should be x, y, width, height are x0, y0, x1, y1.

    Args:
        numbers: ``(N, 4)``, as they are written; x and y are the corner or the centre.
        beyond: ``(N,)`` bool, the boxes that, read as they should be, reach beyond their images.
    """
    if len(numbers) < _LEAST_BOXES or beyond.mean() < _LEAST_SHARE:
        return False
    return bool((numbers[:, 2:] > numbers[:, :2]).all())


def reach_beyond(bboxes: np.ndarray, size_wh: np.ndarray, slack: float = 1.0) -> np.ndarray:
    """Return ``(N,)`` bool: which boxes ``(N, 4)`` xyxy reach beyond their images by more than ``slack``.

    Args:
        bboxes: the boxes.
        size_wh: ``(N, 2)`` or ``(2,)``, the images' sizes.
        slack: in units of the boxes; rounding and pixels that count from 1 make up less than one pixel.
    """
    return (bboxes[:, :2] < -slack).any(1) | (bboxes[:, 2:] > size_wh + slack).any(1)


def keypoints_beyond(keypoints: np.ndarray, size_wh: np.ndarray, slack: float = 1.0) -> np.ndarray:
    """Return ``(N,)`` bool: objects with a labelled keypoint that is outside of its image by more than ``slack``.

    Args:
        keypoints: ``(N, K, 3)`` x, y in pixels and visibility.
        size_wh: ``(N, 2)`` or ``(2,)``, the images' sizes.
        slack: in pixels.
    """
    points = keypoints[..., :2]
    outside = (points < -slack) | (points > np.reshape(size_wh, (-1, 1, 2)) + slack)
    return (outside.any(2) & (keypoints[..., 2] > 0)).any(1)
