"""From a drawn object's coverage to the polygon that a label file holds."""

from __future__ import annotations

import cv2
import numpy as np

_ZOOM = 4  # coverage is enlarged before it is traced, so that an outline follows parts of pixels


def trace(coverage: np.ndarray, tolerance: float = 0.3, min_area: float = 4.0) -> list[np.ndarray]:
    """Return the outlines of the pieces where ``coverage`` exceeds one half.

    Args:
        coverage: (H, W) float, 0-1.
        tolerance: how far, in pixels, the polygon may leave the outline to have fewer vertices.
        min_area: pieces of fewer square pixels are left out.

    Returns:
        One (K, 2) float64 polygon a piece, largest first, in continuous coordinates (pixel j covers [j, j + 1)).
        Holes are filled.
    """
    ys, xs = np.nonzero(coverage > 0.05)
    if not len(xs):
        return []
    # a margin of true pixels around it, but beyond the picture the outermost go on
    x0, y0 = max(xs.min() - 2, 0), max(ys.min() - 2, 0)
    crop = np.pad(coverage[y0 : ys.max() + 3, x0 : xs.max() + 3].astype(np.float32), 1, mode='edge')
    large = cv2.resize(crop, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_LINEAR)[_ZOOM:-_ZOOM, _ZOOM:-_ZOOM]
    # contours run through pixels' centres; on the grid of pixels' corners (those of any inside pixel) they run along
    # the pixels' edges
    corners = cv2.dilate(
        np.pad((large > 0.5).astype(np.uint8), ((0, 1), (0, 1))), np.ones((2, 2), np.uint8), anchor=(1, 1)
    )
    contours, _ = cv2.findContours(corners, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    pieces = []
    for contour in contours:
        if len(contour) < 3 or cv2.contourArea(contour) < min_area * _ZOOM**2:
            continue
        reduced = cv2.approxPolyDP(contour, tolerance * _ZOOM, True)[:, 0]
        if len(reduced) < 3:
            continue
        pieces.append((cv2.contourArea(contour), reduced / _ZOOM + (x0, y0)))
    return [points for _, points in sorted(pieces, key=lambda piece: -piece[0])]


def join(pieces: list[np.ndarray]) -> np.ndarray:
    """Return one closed polygon through all pieces, joined by seams of no width between nearest vertices."""
    joined = pieces[0]
    for piece in pieces[1:]:
        squared = ((joined[:, None] - piece[None]) ** 2).sum(-1)
        i, j = np.unravel_index(squared.argmin(), squared.shape)
        detour = np.concatenate([piece[j:], piece[: j + 1]])
        joined = np.concatenate([joined[: i + 1], detour, joined[i:]])
    return joined
