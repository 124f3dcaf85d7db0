"""Maps and gradients of RF-DETR's backbone and projector equal those of Hugging Face's transformers 5.24
(tests/parity/record_transformers_rfdetr.py says how they were recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity.rfdetr_shapes import (
    BACKBONES,
    DEPTH,
    EMBED_DIMS,
    HEADS,
    OUT_BLOCKS,
    PATCH,
    PROJECTOR_DIMS,
    image,
    loss_of,
    state_of,
)
from parity.seeded import assert_matches
from torch import nn

from detkit.converters.rfdetr_layout import RFDETR_KEYS
from detkit.models.backbones import WindowedViT
from detkit.models.necks import MultiScaleProjector
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'rfdetr.npz'
KEYS = RFDETR_KEYS['hugging_face']


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@without_initial_values()
def seeded_parts(name: str) -> tuple[nn.ModuleDict, int]:
    windows, table, side = BACKBONES[name]
    backbone = WindowedViT(
        embed_dims=EMBED_DIMS,
        depth=DEPTH,
        num_heads=HEADS,
        patch_size=PATCH,
        num_windows=windows,
        table_size=table,
        global_blocks=OUT_BLOCKS[:-1],
        out_indices=OUT_BLOCKS,
    )
    neck = MultiScaleProjector(backbone.out_channels, backbone.out_strides, PROJECTOR_DIMS, num_blocks=2)
    parts = nn.ModuleDict({'backbone': backbone, 'neck': nn.Sequential(neck)}).double()
    shapes = {KEYS.to_theirs(key): tuple(value.shape) for key, value in parts.state_dict().items()}
    parts.load_state_dict(KEYS.convert(state_of(shapes)))
    return parts, side


@pytest.mark.parametrize('name', BACKBONES)
def test_maps_and_gradients_equal_the_reference(recorded, name):
    parts, side = seeded_parts(name)
    feats = parts['backbone'](image(side))
    assert len(feats) == len(OUT_BLOCKS)
    for index, feat in enumerate(feats):
        assert_matches(feat, recorded[f'{name}.map.{index}'], 1e-6, f'map {index}')
    projected = parts['neck'](feats)
    assert_matches(projected[0], recorded[f'{name}.projected'], 1e-6, 'projected')
    loss_of(projected).backward()
    gradients = {f'{name}.grad.{KEYS.to_theirs(key)}': p.grad for key, p in parts.named_parameters()}
    assert gradients.pop(f'{name}.grad.{KEYS.to_theirs("backbone.embed.mask_token")}') is None
    assert set(gradients) == {key for key in recorded if key.startswith(f'{name}.grad.')}
    for key, gradient in gradients.items():
        if key.endswith('k_proj.bias'):  # 0 but for rounding: a bias of all keys alike, which no softmax notices
            assert gradient.abs().max() < 1e-12 and recorded[key][1] < 1e-12
        else:
            assert_matches(gradient, recorded[key], 1e-6, key)


def test_float32_maps_are_near(recorded):
    parts, side = seeded_parts('resized')
    with torch.no_grad():
        feats = parts.float()['backbone'](image(side).float())
        projected = parts['neck'](feats)
    assert_matches(feats[-1], recorded['resized.map.2'], 1e-4, 'map')
    assert_matches(projected[0], recorded['resized.projected'], 1e-4, 'projected')
