"""The paths of tracked objects behind them."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from detkit.visualization.drawing import line_width
from detkit.visualization.palette import class_colour


class Trails:
    """The last positions of the objects of one video, in the colours of their tracks.

    Args:
        seconds: how far back they go.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        self._seconds = seconds
        self._points: dict[int, deque[tuple[float, float, float]]] = {}

    def draw(self, img: np.ndarray, track_ids: np.ndarray, bboxes: np.ndarray, seconds: float) -> np.ndarray:
        """Return a copy of the next frame with a line through the last middles of each box.

        Args:
            img: ``(H, W, 3)`` uint8 RGB.
            track_ids: ``(N,)`` the boxes' tracks.
            bboxes: ``(N, 4)`` xyxy.
            seconds: the frame's time.
        """
        size_wh = np.array(img.shape[1::-1], np.float64)  # by which points are divided, as frames may change their size
        middles = (np.asarray(bboxes)[:, :2] + np.asarray(bboxes)[:, 2:]) / 2 / size_wh
        for track, (x, y) in zip(np.asarray(track_ids).tolist(), middles.tolist(), strict=True):
            self._points.setdefault(track, deque()).append((seconds, x, y))
        img = np.ascontiguousarray(img).copy()
        for track, points in list(self._points.items()):
            while points and points[0][0] < seconds - self._seconds:
                points.popleft()
            if not points:
                del self._points[track]
                continue
            line = np.rint((np.array(points)[:, 1:] * size_wh - 0.5) * 16).astype(np.int32)
            cv2.polylines(img, [line], False, class_colour(track), line_width(img.shape[:2]), cv2.LINE_AA, shift=4)
        return img
