"""What two environments agree on to compare DETRs: models, weights, images of several sizes in one batch, objects."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from parity.seeded import seeded_state, seeded_tensor
from parity.shapes import IMG_SHAPE, OBJECTS
from torch import Tensor

NUM_CLASSES = 91
# (h, w) of three images that share a batch of 96 x 128; the second has no object.
IMG_SHAPES = ((96, 128), (70, 100), (88, 121))

# depth of the backbone, dilation of its last stage, kind of positions, encoder and decoder layers
MODELS = {
    'r50': (50, False, 'sine', 6, 6),
    'r50_dc5': (50, True, 'sine', 1, 1),
    'r101': (101, False, 'sine', 1, 1),
    'r18_learned': (18, False, 'learned', 1, 2),
}


def detr_state(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Weights by the names that the Hugging Face Hub's files have.

    Plain random weights make all cells, and with them all queries, alike. So what tells them apart is scaled up, and
    what they have in common, down: biases, and the residual branches of backbone and encoder.
    """
    state = seeded_state(shapes, seed)
    for name, value in state.items():
        if name.endswith(('bn3.weight', 'layer1.0.bn2.weight', 'layer4.0.bn2.weight', 'downsample.1.weight')):
            value.mul_(0.3)
        elif 'embeddings' in name or name == 'model.input_projection.weight':
            value.mul_(12)
        elif name.endswith(('.bias', 'running_mean')) and not name.startswith(('class', 'bbox')):
            value.mul_(0.1)
        elif 'encoder.layers' in name and name.endswith(('out_proj.weight', 'fc2.weight')):
            value.mul_(0.2)
        elif 'decoder.layers' in name and name.endswith('q_proj.weight'):
            value.mul_(2)
    return state


def images(seed: int) -> Tensor:
    """``(3, 3, 96, 128)`` in float64, 0 in the padding."""
    batch = seeded_tensor((len(IMG_SHAPES), 3, *IMG_SHAPE), 'image', seed) * 4 - 2
    for image, (height, width) in zip(batch, IMG_SHAPES, strict=True):
        image[:, height:] = 0
        image[:, :, width:] = 0
    return batch


def objects() -> list[tuple[Tensor, Tensor]]:
    """For each image labels ``(N,)`` int64 and boxes ``(N, 4)`` float64 cxcywh relative to the image."""
    units = np.array([IMG_SHAPE[1], IMG_SHAPE[0]] * 2, np.float64)
    truth = []
    for own in OBJECTS:
        table = np.array(own, np.float64).reshape(-1, 6)
        bboxes_cxcywh = np.concatenate([table[:, 1:3], table[:, 3:5] * 2], 1) / units
        truth.append((torch.from_numpy(table[:, 0].astype(np.int64)), torch.from_numpy(bboxes_cxcywh)))
    return truth
