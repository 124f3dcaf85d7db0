"""From a drawn object's coverage to the polygon that a label file holds."""

from __future__ import annotations

import cv2
import numpy as np

_ZOOM = 4  # coverage is enlarged before it is traced, so that an outline is good to an eighth of a pixel


def trace(coverage: np.ndarray, tolerance: float = 0.35, min_area: float = 4.0) -> list[np.ndarray]:
    """Outlines of the pieces where ``coverage`` exceeds one half.

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
    x0, y0, x1, y1 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    crop = cv2.copyMakeBorder(coverage[y0:y1, x0:x1].astype(np.float32), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    large = cv2.resize(crop, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_LINEAR)[_ZOOM:-_ZOOM, _ZOOM:-_ZOOM]
    contours, _ = cv2.findContours(
        (large > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(0, 0)
    )
    pieces = []
    for contour in contours:
        if len(contour) < 3 or cv2.contourArea(contour) < min_area * _ZOOM**2:
            continue
        reduced = cv2.approxPolyDP(contour, tolerance * _ZOOM, True)[:, 0]
        if len(reduced) < 3:
            continue
        points = _to_pixel_edges(reduced.astype(np.float64), large.shape) / _ZOOM
        pieces.append((cv2.contourArea(contour), points + (x0, y0)))
    return [points for _, points in sorted(pieces, key=lambda piece: -piece[0])]


def _to_pixel_edges(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Centres of border pixels to continuous coordinates; those on the crop's border go to its very edge."""
    h, w = shape
    moved = points + 0.5
    for axis, size in ((0, w), (1, h)):
        moved[points[:, axis] == 0, axis] = 0
        moved[points[:, axis] == size - 1, axis] = size
    return moved


def join(pieces: list[np.ndarray]) -> np.ndarray:
    """One closed polygon through all pieces: a seam of no width leads to each and back, between nearest vertices."""
    joined = pieces[0]
    for piece in pieces[1:]:
        squared = ((joined[:, None] - piece[None]) ** 2).sum(-1)
        i, j = np.unravel_index(squared.argmin(), squared.shape)
        detour = np.concatenate([piece[j:], piece[: j + 1]])
        joined = np.concatenate([joined[: i + 1], detour, joined[i:]])
    return joined
