"""What two environments agree on to compare RF-DETRs: models, weights, images, objects, and what is differentiated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from parity.seeded import seeded_state, seeded_tensor
from torch import Tensor

SEED = 53
EMBED_DIMS, DEPTH, HEADS, PATCH = 32, 4, 4, 8
# Windows, rows and columns of the table of positions, and the side of the images: the table's own, or another.
BACKBONES = {'windows': (2, 8, 64), 'resized': (2, 6, 64), 'whole': (1, 8, 96)}
OUT_BLOCKS = (1, 3, 4)  # after which maps are returned; of those that follow, 1 and 3 attend over all windows
PROJECTOR_DIMS = 24


def state_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights by transformers' names; positions are scaled up, so that cells differ."""
    state = seeded_state(shapes, SEED)
    for name, value in state.items():
        if name.endswith('position_embeddings'):
            value.mul_(20)
    return state


def image(side: int) -> Tensor:
    return seeded_tensor((2, 3, side, side), 'image', SEED) * 4 - 2


def loss_of(feats: Sequence[Tensor]) -> Tensor:
    """A number to which every cell of every map contributes differently."""
    return torch.stack(
        [(feat * seeded_tensor(feat.shape, f'map {i}', SEED)).mean() for i, feat in enumerate(feats)]
    ).sum()
