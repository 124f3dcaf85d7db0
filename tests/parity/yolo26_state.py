"""Weights of YOLO26's heads with which boxes, masks, keypoints and angles have sizes as after training."""

from __future__ import annotations

import re

from parity.shapes import loss_state
from torch import Tensor

# The last weights of boxes and of what the tasks add, and the last biases of distances, which become positive.
_LAST = re.compile(r'model\.23\.(one2one_)?(cv[24]\.\d\.2|cv4_(kpts|sigma)\.\d)\.weight')
_DISTANCES = re.compile(r'model\.23\.(one2one_)?cv2\.\d\.2\.bias')
# Of the flow of keypoints' errors; with weights of a layer's usual size, densities would have hundreds of digits.
_FLOW = re.compile(r'model\.23\.flow_model\.[st]\.\d\.\d\.weight')


def yolo26_state(shapes: dict[str, tuple[int, ...]], task: str, seed: int) -> dict[str, Tensor]:
    """``loss_state``, with scaled last weights where the task is 'seg', 'pose' or 'obb'."""
    state = loss_state(shapes, seed)
    if task in ('det', 'cls'):
        return state
    for name, value in state.items():
        if _LAST.fullmatch(name):
            value *= 0.3
        elif _DISTANCES.fullmatch(name):
            value += 2
        elif _FLOW.fullmatch(name):
            value *= 0.5
    return state
