"""Drawing of keypoints and the limbs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from detkit.structures.keypoints import COCO_FLIP_PAIRS, default_skeleton

Colour = tuple[int, int, int]

# One side of a body, the other side, and what has none: told apart by anyone, and seen on photographs.
_SIDES: tuple[Colour, Colour, Colour] = ((255, 150, 30), (50, 160, 255), (110, 230, 90))
_EDGE: Colour = (20, 20, 20)
# A keypoint is drawn when it is more likely labelled than not.
_LEAST_SCORE = 0.5


def drawn_keypoints(keypoints: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
    """Convert predicted keypoints to the form that ``draw_skeletons`` takes.

    Args:
        keypoints: ``(N, K, 2)``.
        scores: ``(N, K)``; None draws all.
    """
    shown = np.ones(keypoints.shape[:2], bool) if scores is None else np.asarray(scores) > _LEAST_SCORE
    return np.concatenate([keypoints[..., :2], 2.0 * shown[..., None]], 2)


def draw_skeletons(
    img: np.ndarray,
    keypoints: np.ndarray,
    bboxes: np.ndarray,
    info: Mapping[str, Any] | None = None,
    line: int = 2,
) -> None:
    """Draw objects' keypoints and limbs into ``img``.

    Args:
        img: ``(H, W, 3)`` uint8 RGB, changed in place.
        keypoints: ``(N, K, 3)`` x, y in pixels of ``img`` and visibility: 0 is not drawn, 1 (hidden) drawn hollow.
        bboxes: ``(N, 4)``, whose sizes limit the widths of the strokes.
        info: a dataset's ``metainfo`` with ``skeleton`` and ``flip_pairs`` (by which sides are coloured);
            by default COCO's for 17 keypoints and nothing for others.
        line: width of a stroke.
    """
    num_keypoints = keypoints.shape[1]
    info = info or {}
    skeleton = default_skeleton(num_keypoints) if info.get('skeleton') is None else info['skeleton']
    sides = keypoint_sides(info.get('flip_pairs'), num_keypoints)
    for points, bbox in zip(keypoints, bboxes, strict=True):
        extent = float(np.hypot(*(bbox[2:] - bbox[:2])))
        width = int(min(line, max(1, round(extent / 60))))
        shown = points[:, 2] > 0
        fixed_points = np.rint((points[:, :2] - 0.5) * 16).astype(np.int32)  # OpenCV's fixed point, 4 fractional bits
        for i, j in skeleton:
            if shown[i] and shown[j]:
                colour = _SIDES[sides[i]] if sides[i] == sides[j] else _SIDES[2]
                cv2.line(img, fixed_points[i].tolist(), fixed_points[j].tolist(), colour, width, cv2.LINE_AA, shift=4)
        radius = max(2.0, 1.4 * width)
        for i in np.flatnonzero(shown):
            fixed, centre = round(radius * 16), fixed_points[i].tolist()
            if width > 1:
                cv2.circle(img, centre, fixed + 16, _EDGE, -1, cv2.LINE_AA, shift=4)
            filled = points[i, 2] > 1
            cv2.circle(img, centre, fixed, _SIDES[sides[i]], -1 if filled else 1, cv2.LINE_AA, shift=4)


def keypoint_sides(flip_pairs: Sequence[tuple[int, int]] | None, num_keypoints: int) -> list[int]:
    """Return 0 for the first keypoint of each pair, 1 for the second, 2 for those without a counterpart."""
    if flip_pairs is None and num_keypoints == 17:
        flip_pairs = COCO_FLIP_PAIRS
    sides = [2] * num_keypoints
    for first, second in flip_pairs or ():
        sides[first], sides[second] = 0, 1
    return sides
