"""What two environments agree on to compare RT-DETRs: models, weights, images, objects, and the noise of denoising."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from parity.seeded import seeded_state, seeded_tensor
from torch import Tensor

SEED = 53
NUM_CLASSES = 7
NUM_QUERIES = 50
NUM_DENOISING = 10
NUM_DRAWS = 10


@dataclass(frozen=True)
class Shape:
    """A model and its images.

    Attributes:
        depth, expansion: of the backbone, and of the encoder's fusion blocks.
        layers: decoder layers.
        frozen: whether the backbone's normalisation is frozen.
        size: (H, W) of the batch.
        version: 2 for RT-DETRv2 with discrete sampling.
    """

    depth: int
    expansion: float
    layers: int
    frozen: bool
    size: tuple[int, int]
    version: int = 1


MODELS = {
    # So wide that the anchors at both ends are not usable.
    'r18': Shape(18, 0.5, 3, False, (64, 416)),
    'r50': Shape(50, 1.0, 6, True, (96, 128)),
    'r18_discrete': Shape(18, 0.5, 2, False, (96, 128), 2),
}
TRAINED = ('r18', 'r50')
# For each image the share of the batch's height and width that is not padding, then label and cxcywh of its objects.
IMAGES = (
    (1.0, 1.0, [(0, 0.31, 0.40, 0.22, 0.51), (3, 0.72, 0.55, 0.41, 0.30), (3, 0.20, 0.75, 0.12, 0.21)]),
    (0.5, 1.0, []),
    (1.0, 0.75, [(6, 0.45, 0.52, 0.60, 0.83), (1, 0.15, 0.22, 0.09, 0.17)]),
)
MAX_OBJECTS = 3


def rtdetr_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights by the names that the Hugging Face Hub's files have.

    What makes queries alike, and sends their points far away, is scaled down: biases, residual branches, and offsets.
    """
    state = seeded_state(shapes, SEED)
    for name, value in state.items():
        if 'sampling_offsets.weight' in name or 'bbox_embed' in name or 'enc_bbox_head' in name:
            value.mul_(0.4)
        elif name.endswith('bias') and 'class_embed' in name or 'enc_score_head.bias' in name:
            value.sub_(1.5)
        elif 'denoising_class_embed' in name:
            value[-1] = 0  # of padding
        elif '.backbone.' in name and name.endswith(('layer.2.normalization.weight', 'layer.1.normalization.weight')):
            value.mul_(0.5)
    return state


def images(name: str) -> Tensor:
    """``(3, 3, H, W)`` in float64, 0 in the padding."""
    height, width = MODELS[name].size
    batch = seeded_tensor((len(IMAGES), 3, height, width), 'image', SEED)
    for image, (rows, columns, _) in zip(batch, IMAGES, strict=True):
        image[:, int(rows * height) :] = 0
        image[:, :, int(columns * width) :] = 0
    return batch


def objects() -> list[tuple[Tensor, Tensor]]:
    """For each image labels ``(N,)`` int64 and boxes ``(N, 4)`` float64 cxcywh relative to the batch."""
    tables = [np.array(own, np.float64).reshape(-1, 5) for _, _, own in IMAGES]
    return [(torch.from_numpy(table[:, 0].astype(np.int64)), torch.from_numpy(table[:, 1:])) for table in tables]


def draws(num_denoising: int) -> Tensor:
    """Random numbers ``(3, D, 10)``: whether a label changes, the new one, how far four sides move, and where to."""
    return seeded_tensor((len(IMAGES), num_denoising, NUM_DRAWS), 'denoising', SEED)
