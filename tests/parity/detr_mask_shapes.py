"""What two environments agree on to compare DETR's masks: one model, and a mask for each object of ``detr_shapes``."""

from __future__ import annotations

import numpy as np
import torch
from parity.detr_shapes import IMG_SHAPES
from parity.shapes import IMG_SHAPE, OBJECTS
from torch import Tensor

# depth of the backbone, encoder and decoder layers
MASK_MODEL = (18, 1, 2)


def object_masks() -> list[Tensor]:
    """For each image ``(N, h, w)`` bool at its own size: the ellipses and rectangles themselves."""
    height, width = IMG_SHAPE
    masks = []
    for (own_height, own_width), objects in zip(IMG_SHAPES, OBJECTS, strict=True):
        x = (np.arange(own_width) + 0.5) / own_width * width
        y = ((np.arange(own_height) + 0.5) / own_height * height)[:, None]
        own = np.zeros((len(objects), own_height, own_width), bool)
        for mask, (_, cx, cy, half_w, half_h, ellipse) in zip(own, objects, strict=True):
            across, down = np.abs(x - cx) / half_w, np.abs(y - cy) / half_h
            mask[:] = across**2 + down**2 <= 1 if ellipse else np.maximum(across, down) <= 1
        masks.append(torch.from_numpy(own))
    return masks
