"""Ground truth of rotated boxes and weights that two environments agree on; the image size is that of ``shapes.py``."""

from __future__ import annotations

import re

import numpy as np
from parity.shapes import loss_state
from torch import Tensor

# Factors of the head's last weights, after which scores, sides and angles of either size vary as in training: seeded
# weights alone make the outputs of n nearly constant, and saturate those of m.
_HEAD_GAINS = {'n': 2.0, 'm': 0.12}
_LAST_WEIGHTS = re.compile(r'model\.2[23]\.(one2one_)?cv[234]\.\d\.2\.weight')

# Of three images, the second without objects: (label, cx, cy, w, h, angle) in pixels and radians, the long side as w.
# Large and small, overlapping, sharing a class, thin, near-square, sides below two cells and below two pixels, reaching
# beyond the border, angles all round.
OBJECTS = (
    (
        (17, 66.0, 50.0, 96.0, 40.0, 0.5),
        (3, 40.5, 43.25, 60.0, 30.0, -0.6),
        (3, 52.0, 52.75, 48.0, 47.0, 2.2),
        (60, 104.2, 30.1, 44.0, 22.0, 1.2),
        (0, 90.0, 80.0, 20.0, 13.0, 0.1),
        (79, 24.2, 85.4, 15.0, 10.0, 0.3),
        (1, 30.0, 20.0, 25.0, 1.5, 0.7),
    ),
    (),
    (
        (60, 32.0, 48.0, 80.0, 60.0, 1.6),
        (5, 88.4, 60.3, 66.0, 50.0, 0.9),
        (5, 96.0, 24.0, 32.0, 24.0, 2.0),
        (7, 120.0, 90.0, 50.0, 18.0, -0.7),
    ),
)


def rotated_ground_truth() -> list[tuple[np.ndarray, np.ndarray]]:
    """For each image labels ``(N,)`` and rotated boxes ``(N, 5)`` float64."""
    tables = [np.array(objects, np.float64).reshape(-1, 6) for objects in OBJECTS]
    return [(table[:, 0].astype(np.int64), table[:, 1:]) for table in tables]


def rotated_state(shapes: dict[str, tuple[int, ...]], size: str, seed: int) -> dict[str, Tensor]:
    """``loss_state`` of model size 'n' or 'm', the head's last weights scaled."""
    state = loss_state(shapes, seed)
    return {name: value * _HEAD_GAINS[size] if _LAST_WEIGHTS.match(name) else value for name, value in state.items()}
