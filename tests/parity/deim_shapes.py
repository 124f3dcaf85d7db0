"""What two environments agree on to compare DEIMs: models and weights; objects and noise are RT-DETR's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from parity.dfine_shapes import Shape as DFINEShape
from parity.dfine_shapes import dfine_state
from parity.rtdetr_shapes import IMAGES
from parity.seeded import seeded_tensor
from torch import Tensor

SEED = 61
NUM_CLASSES = 7
NUM_QUERIES = 30
NUM_DENOISING = 10


@dataclass(frozen=True)
class Shape:
    """A DEIMv2 and its images.

    Attributes:
        size: the size whose backbone, encoder and points it has.
        dims, feedforward: channels, and width of the decoder's linear layers.
        layers: decoder layers.
        as_library: whether the graph is that of transformers, which differs from that of the authors: a linear layer
            and a normalisation before the selection, positions of their own for all layers, and ReLU in the MLPs.
        img_shape: (H, W) of the batch.
    """

    size: str
    dims: int
    feedforward: int
    layers: int
    as_library: bool
    img_shape: tuple[int, int]


V2 = {
    'n': Shape('n', 128, 512, 3, False, (96, 160)),
    'pico': Shape('pico', 112, 320, 3, False, (96, 128)),
    'atto_library': Shape('atto', 64, 160, 2, True, (96, 128)),
}
# D-FINE's graph with SiLU, its decoder narrower than its encoder, its normalisation trained.
DFINE = {'dfine': DFINEShape('s', (96, 64, 1.0, 0.67), (64, 48, 2, (3, 6, 3), 8.0), False, (96, 128))}
TRAINED = ('n', 'pico', 'dfine')


def img_shape(name: str) -> tuple[int, int]:
    return (V2 | DFINE)[name].img_shape


def deim_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights of a DEIMv2 by transformers' names."""
    state = dfine_state(shapes, 4.0)
    for name, value in state.items():
        if '.bbox_embed.' in name:  # so that no box is turned inside out
            value.mul_(0.6)
    return state


def images(name: str) -> Tensor:
    """``(3, 3, H, W)`` in float64, 0 in the padding."""
    height, width = img_shape(name)
    batch = seeded_tensor((len(IMAGES), 3, height, width), 'image', SEED)
    for image, (rows, columns, _) in zip(batch, IMAGES, strict=True):
        image[:, int(rows * height) :] = 0
        image[:, :, int(columns * width) :] = 0
    return torch.as_tensor(batch)
