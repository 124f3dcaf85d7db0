"""Boxes divided by the image's size, in files whose boxes should be in pixels."""

from __future__ import annotations

import numpy as np

__all__ = ['ALL_SHARES', 'FEW_PIXELS', 'are_shares']

# No number of a box that is divided by the image's size is larger, give or take a box that reaches out of the image.
_MOST = 1.5
# Boxes of smaller images may be as small as those.
FEW_PIXELS = 3
# The reason that a reader gives for them, behind the box.
ALL_SHARES = (
    'has no number above 1.5, as all boxes of the data: they look normalised (divided by width and height), but pixels '
    'are expected'
)


def are_shares(bboxes: np.ndarray) -> bool:
    """Return whether boxes ``(N, 4)`` of any form look normalised: all their numbers lie between 0 and 1.5."""
    return len(bboxes) > 0 and bool(((bboxes >= 0) & (bboxes <= _MOST)).all())
