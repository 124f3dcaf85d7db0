"""What two environments agree on to compare YOLOX: its weights, and a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from parity.seeded import seeded_array, seeded_state
from torch import Tensor

# The picture's sides are whole when it is scaled: the reference takes boxes back by the factor before rounding.
PICTURE_BLOCKS = (6, 16)
PICTURE_SIZE = 128  # of the network's input
PICTURE_MODELS = ('nano', 'tiny')
SCORE_THR, IOU_THR = 0.01, 0.45


def yolox_state(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """``seeded_state`` with boxes of a few cells, so that objects overlap with several, and most points seeing nothing.

    Args:
        shapes: names of the reference.
    """
    state = seeded_state(shapes, seed)
    for name, value in state.items():
        if name.startswith(('head.reg_preds.', 'head.obj_preds.', 'head.cls_preds.')):
            value *= 0.2  # neither sides beyond all images nor probabilities of 0 and 1
            if name.startswith('head.reg_preds.') and name.endswith('.bias'):
                value[2:] += 1.6
            elif name.endswith('.bias'):
                value -= 2
    return state


def picture_state(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """``yolox_state``, float32, for pixels from 0 to 255."""
    state = yolox_state(shapes, seed)
    for name, value in state.items():
        if name.endswith('stem.conv.bn.running_var'):
            value *= 255.0**2
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def picture(seed: int) -> np.ndarray:
    """A BGR picture of blocks of colour, ``(60, 160, 3)`` uint8."""
    blocks = (seeded_array((*PICTURE_BLOCKS, 3), 'picture', seed) * 256).astype(np.uint8)
    return np.ascontiguousarray(blocks.repeat(10, 0).repeat(10, 1))
