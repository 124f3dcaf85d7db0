"""The eight ways to mirror a picture and to rotate it by quarter turns, applied to arrays, frequencies and boxes.

An orientation is a number 0 … 7: 4 stands for transposing, which comes first, 2 for reversing the rows, 1 for reversing
the columns.
"""

from __future__ import annotations

import numpy as np

ORIENTATION_NAMES = (
    'same orientation',
    'mirrored left to right',
    'mirrored top to bottom',
    'rotated by 180°',
    'mirrored along the main diagonal',
    'rotated by 90° clockwise',
    'rotated by 90° counter-clockwise',
    'mirrored along the other diagonal',
)


def orient(pictures: np.ndarray, orientation: int) -> np.ndarray:
    """Return pictures ``(..., h, w)`` in an orientation; a view."""
    if orientation & 4:
        pictures = np.swapaxes(pictures, -1, -2)  # (..., w, h)
    if orientation & 2:
        pictures = pictures[..., ::-1, :]
    return pictures[..., ::-1] if orientation & 1 else pictures


def orient_frequencies(coefficients: np.ndarray, orientation: int) -> np.ndarray:
    """Return what the cosine transform of a picture in an orientation is, from that of the picture, ``(..., n, n)``.

    Reversing the rows of a picture changes the sign of every odd vertical frequency (DCT-II).
    """
    if orientation & 4:
        coefficients = np.swapaxes(coefficients, -1, -2)
    signs = 1 - 2 * (np.arange(coefficients.shape[-1]) % 2)
    if orientation & 2:
        coefficients = coefficients * signs[:, None]
    return coefficients * signs if orientation & 1 else coefficients


def orient_bboxes(bboxes: np.ndarray, orientation: int) -> np.ndarray:
    """Return boxes ``(N, 4)`` xyxy, relative to the size of their picture, in the picture's orientation."""
    x0, y0, x1, y1 = bboxes.T
    if orientation & 4:
        x0, y0, x1, y1 = y0, x0, y1, x1
    if orientation & 2:
        y0, y1 = 1 - y1, 1 - y0
    if orientation & 1:
        x0, x1 = 1 - x1, 1 - x0
    return np.stack([x0, y0, x1, y1], 1)


def _table() -> np.ndarray:
    results = [orient(np.arange(4).reshape(2, 2), orientation).tolist() for orientation in range(8)]
    return np.array(
        [[results.index(orient(np.array(first), second).tolist()) for second in range(8)] for first in results]
    )


# COMPOSED[first, second] is the orientation that does both, INVERSE[orientation] the one that undoes it.
COMPOSED = _table()
INVERSE = np.argmin(COMPOSED, 1)
