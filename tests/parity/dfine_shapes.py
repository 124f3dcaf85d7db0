"""What two environments agree on to compare D-FINEs: models, weights and images; objects and noise are RT-DETR's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from parity.rtdetr_shapes import IMAGES
from parity.seeded import seeded_state, seeded_tensor
from torch import Tensor

SEED = 59
NUM_CLASSES = 7
NUM_QUERIES = 30
NUM_DENOISING = 10


@dataclass(frozen=True)
class Shape:
    """A model and its images.

    Attributes:
        size: the size whose backbone and maps it has.
        encoder: channels, width of the linear layers, width and depth of the fusion blocks.
        decoder: channels, width of the linear layers, layers, points in each map, scale of the bins.
        frozen: whether the backbone's normalisation is frozen.
        img_shape: (H, W) of the batch.
    """

    size: str
    encoder: tuple[int, int, float, float]
    decoder: tuple[int, int, int, tuple[int, ...], float]
    frozen: bool
    img_shape: tuple[int, int]


MODELS = {
    'n': Shape('n', (128, 512, 0.34, 0.5), (128, 512, 3, (6, 6), 4.0), False, (96, 160)),
    's': Shape('s', (256, 1024, 0.5, 0.34), (256, 1024, 3, (3, 6, 3), 4.0), False, (96, 128)),
    # As in X, the decoder has fewer channels than the encoder.
    'other': Shape('s', (96, 64, 1.0, 0.67), (64, 48, 2, (3, 6, 3), 8.0), True, (96, 128)),
}
TRAINED = ('n', 's', 'other')


def dfine_state(shapes: Mapping[str, tuple[int, ...]], reg_scale: float) -> dict[str, Tensor]:
    """Weights by transformers' names; what makes queries alike, and sends boxes far away, is scaled down."""
    state = seeded_state(shapes, SEED)
    for name, value in state.items():
        if name.endswith('decoder.up'):
            value.fill_(0.5)
        elif name.endswith('decoder.reg_scale'):
            value.fill_(reg_scale)
        elif 'sampling_offsets.weight' in name or 'pre_bbox_head' in name or 'enc_bbox_head' in name:
            value.mul_(0.4)
        elif name.endswith('bias') and ('class_embed' in name or 'enc_score_head' in name):
            value.sub_(1.5)
        elif 'denoising_class_embed' in name:
            value[-1] = 0  # of padding
        elif '.lab.' in name:
            value.mul_(0.6)
    return state


def images(name: str) -> Tensor:
    """``(3, 3, H, W)`` in float64, 0 in the padding."""
    height, width = MODELS[name].img_shape
    batch = seeded_tensor((len(IMAGES), 3, height, width), 'image', SEED)
    for image, (rows, columns, _) in zip(batch, IMAGES, strict=True):
        image[:, int(rows * height) :] = 0
        image[:, :, int(columns * width) :] = 0
    return torch.as_tensor(batch)
