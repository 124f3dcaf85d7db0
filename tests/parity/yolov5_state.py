"""What two environments agree on to compare YOLOv5 files: weights, anchors, thresholds."""

from __future__ import annotations

from parity.seeded import seeded_state
from torch import Tensor

SEED = 29
IMAGES = 2
NUM_CLASSES = 3
SCORE_THR, IOU_THR = 0.05, 0.6
FACTORS = {'n': (0.33, 0.25), 'm': (0.67, 0.75)}  # depth, width

# As found for data of one's own: neither whole numbers nor COCO's.
ANCHORS = (
    ((9.5, 12.25), (17.0, 30.5), (32.0, 22.75)),
    ((29.0, 60.0), (61.5, 45.0), (58.25, 118.0)),
    ((115.0, 91.0), (157.0, 197.5), (372.0, 325.0)),
)


def yolov5_state(shapes: dict[str, tuple[int, ...]], seed: int, num_classes: int = NUM_CLASSES) -> dict[str, Tensor]:
    """``seeded_state`` with a calmer last layer, whose objectness is lowered: most places see nothing.

    Networks of release 5 (with a Focus layer, ``model.0.conv``), the deeper one above all, have larger activations.
    """
    state = seeded_state(shapes, seed)
    factor = 0.015
    if 'model.0.conv.conv.weight' in shapes:
        factor = 0.001 if 'model.4.m.5.cv1.conv.weight' in shapes else 0.007
    for name, value in state.items():
        if name.startswith('model.24.m.') and name.endswith('.weight'):
            value *= factor
        elif name.startswith('model.24.m.'):
            value.view(-1, 5 + num_classes)[:, 4] -= 5
    return state
