"""Square windows of images, to show small objects."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

# The side of a window: the larger side of the objects in it, times this.
_AROUND = 1.8
_LEAST = 32  # pixels of the image


@dataclass(frozen=True)
class Window:
    """A square of an image, drawn ``size`` pixels wide and high.

    Attributes:
        left, top, side: in pixels of the image.
        size: in pixels of the picture made of it.
    """

    left: float
    top: float
    side: float
    size: int

    @staticmethod
    def around(points: np.ndarray, shape: tuple[int, int], size: int) -> Window:
        """Return the window around points ``(n, 2)``, moved into the image of (h, w) as far as they allow."""
        low, high = points.min(0), points.max(0)
        extent = float((high - low).max())
        side = max(min(max(extent * _AROUND, _LEAST), max(shape)), extent)
        first, last = np.minimum(low, 0), np.maximum(high, shape[::-1]) - side
        left, top = np.clip((low + high - side) / 2, first, np.maximum(first, last)).tolist()
        return Window(left, top, side, size)

    @property
    def scale(self) -> float:
        return self.size / self.side

    def moved(self, points: np.ndarray) -> np.ndarray:
        """Convert points ``(..., 2)`` of the image to pixels of the picture."""
        return (points - (self.left, self.top)) * self.scale

    def moved_rbboxes(self, rbboxes: np.ndarray) -> np.ndarray:
        """Convert rotated boxes ``(n, 5)`` of the image to pixels of the picture."""
        return np.concatenate([self.moved(rbboxes[:, :2]), rbboxes[:, 2:4] * self.scale, rbboxes[:, 4:]], 1)

    def cut(self, img: np.ndarray, flags: int | None = None) -> np.ndarray:
        """Return the picture, white where the window reaches beyond the image.

        Args:
            flags: OpenCV's interpolation; one that suits photographs if None.
        """
        scale = self.scale
        if flags is None:
            flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        # OpenCV counts pixels at their centres.
        matrix = np.array([[scale, 0, scale * (0.5 - self.left) - 0.5], [0, scale, scale * (0.5 - self.top) - 0.5]])
        return cv2.warpAffine(img, matrix, (self.size, self.size), flags=flags, borderValue=(255, 255, 255))
