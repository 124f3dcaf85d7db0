"""What two environments agree on to compare backbones: their names, shapes, inputs, and what is differentiated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from parity.seeded import seeded_state, seeded_tensor
from torch import Tensor

SEED = 47
SHAPE = (2, 3, 71, 101)  # no multiple of the strides
# detkit's arguments
MODELS = {
    'resnet18d': dict(type='ResNet', depth=18, variant='d', out_indices=(1, 2, 3, 4)),
    'resnet50d': dict(type='ResNet', depth=50, variant='d', out_indices=(1, 2, 3, 4)),
    'hgnet_b0_lab': dict(type='HGNetV2', arch='B0', lab=True, out_indices=(1, 2, 3, 4)),
    'hgnet_b2_lab': dict(type='HGNetV2', arch='B2', lab=True, out_indices=(1, 2, 3, 4)),
    'hgnet_b4': dict(type='HGNetV2', arch='B4', out_indices=(1, 2, 3, 4)),
}

# The blocks of the others are the same.
WITH_GRADIENTS = ('resnet18d', 'resnet50d', 'hgnet_b0_lab')


def state_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return seeded_state(shapes, SEED)


def image() -> Tensor:
    return seeded_tensor(SHAPE, 'image', SEED)


def loss_of(feats: Sequence[Tensor]) -> Tensor:
    """A number to which every cell of every map contributes differently."""
    return torch.stack(
        [(feat * seeded_tensor(feat.shape, f'map {i}', SEED)).mean() for i, feat in enumerate(feats)]
    ).sum()
