"""What two environments agree on to compare losses of anchors: weights, and ground truth that contests places."""

from __future__ import annotations

import numpy as np
from parity.seeded import seeded_state
from parity.shapes import ground_truth
from torch import Tensor

# Scales of the last layer at which the outputs in evaluation mode are neither all alike nor saturated.
EVAL_SCALES = {'n': 0.2, 'm': 0.015}

# (label, centre x, centre y, width, height) in pixels. Near-copies in one cell, centres exactly on the borders and the
# corners of cells, at the image's edge, boxes as large as the image, and shapes that fit no anchor.
_CROWD = (
    (7, 36.5, 44.25, 22.0, 31.0),
    (7, 37.0, 45.0, 24.0, 29.0),
    (12, 38.25, 43.5, 20.0, 33.0),
    (44, 36.5, 44.25, 22.0, 31.0),
    (2, 64.0, 48.0, 40.0, 40.0),
    (2, 64.0, 32.0, 16.0, 30.0),
    (3, 72.0, 41.0, 12.0, 14.0),
    (3, 73.5, 40.0, 13.0, 15.0),
    (11, 128.0, 96.0, 30.0, 30.0),
    (13, 0.0, 0.0, 18.0, 20.0),
    (5, 127.5, 3.0, 11.0, 14.0),
    (6, 2.5, 93.5, 15.0, 12.0),
    (1, 64.0, 48.0, 128.0, 96.0),
    (0, 60.0, 50.0, 118.0, 90.0),
    (70, 100.0, 70.0, 2.0, 60.0),
    (71, 20.0, 20.0, 1.5, 1.5),
)


def crowded_truth() -> list[tuple[np.ndarray, np.ndarray]]:
    """For each of four images labels ``(N,)`` and boxes ``(N, 4)`` float64 xyxy pixels; the second has none."""
    table = np.array(_CROWD, np.float64)
    centres, halves = table[:, 1:3], table[:, 3:] / 2
    crowd = table[:, 0].astype(np.int64), np.concatenate([centres - halves, centres + halves], 1)
    return [(labels, bboxes) for labels, bboxes, _ in ground_truth()] + [crowd]


def crowded_state(
    shapes: dict[str, tuple[int, ...]], seed: int, num_classes: int = 80, scale: float = 0.3
) -> dict[str, Tensor]:
    """``seeded_state`` whose last layer is scaled, and its objectness lowered: most places see nothing."""
    state = seeded_state(shapes, seed)
    for name, value in state.items():
        if name.startswith('model.24.m.') and name.endswith('.weight'):
            value *= scale
        elif name.startswith('model.24.m.'):
            value.view(-1, 5 + num_classes)[:, 4] -= 4
    return state
