"""Maps and gradients of RT-DETR's and D-FINE's backbones equal those of Hugging Face's transformers 5.24
(tests/parity/record_transformers_backbones.py says how they were recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity.backbone_shapes import MODELS, WITH_GRADIENTS, image, loss_of, state_of
from parity.seeded import assert_matches

from detkit.converters.common import KeyTable
from detkit.models.layers import fuse_conv_bn
from detkit.registry import BACKBONES
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'backbones.npz'
LAYERS = ('convolution', 'conv'), ('normalization', 'bn'), ('lab', 'lab')


def resnet_rows() -> list[tuple[str, str]]:
    rows = []
    for index, (conv, bn) in enumerate((('conv1.0', 'conv1.1'), ('conv1.3', 'conv1.4'), ('conv1.6', 'bn1'))):
        rows += [
            (f'embedder.embedder.{index}.{kind}', ours)
            for kind, ours in zip(('convolution', 'normalization'), (conv, bn), strict=True)
        ]
    for stage in range(4):
        block = f'encoder.stages.{stage}.layers.{{}}'
        for theirs, ours in LAYERS[:2]:
            rows += [(f'{block}.layer.{k}.{theirs}', f'layer{stage + 1}.{{}}.{ours}{k + 1}') for k in range(3)]
            shortcut = 'shortcut.1' if stage else 'shortcut'
            rows.append((f'{block}.{shortcut}.{theirs}', f'layer{stage + 1}.{{}}.downsample.{1 + (ours == "bn")}'))
    return rows


def hgnet_rows() -> list[tuple[str, str]]:
    rows = []
    for theirs, ours in LAYERS:
        rows += [
            (f'embedder.{name}.{theirs}', f'stem.{name}.{ours}')
            for name in ('stem1', 'stem2a', 'stem2b', 'stem3', 'stem4')
        ]
        for inner in (
            'blocks.{}.layers.{}',
            'blocks.{}.layers.{}.conv1',
            'blocks.{}.layers.{}.conv2',
            'blocks.{}.aggregation.{}',
            'downsample',
        ):
            rows.append((f'encoder.stages.{{}}.{inner}.{theirs}', f'stages.{{}}.{inner}.{ours}'))
    return rows


KEYS = {'ResNet': KeyTable(resnet_rows()), 'HGNetV2': KeyTable(hgnet_rows())}


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@without_initial_values()
def seeded_backbone(name: str, **arguments) -> torch.nn.Module:
    backbone = BACKBONES.build({**MODELS[name], **arguments}).double()
    keys = KEYS[MODELS[name]['type']]
    shapes = {keys.to_theirs(key): tuple(value.shape) for key, value in backbone.state_dict().items()}
    backbone.load_state_dict(keys.convert(state_of(shapes)))
    return backbone


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('name', MODELS)
def test_maps_and_gradients_equal_the_reference(recorded, name):
    backbone = seeded_backbone(name)
    keys = KEYS[MODELS[name]['type']]
    for mode in ('eval', 'train'):
        feats = backbone.train(mode == 'train')(image())
        for index, feat in enumerate(feats):
            assert_matches(feat, recorded[f'{name}.{mode}.{index}'], 1e-6, f'{mode}.{index}')
    if name not in WITH_GRADIENTS:
        return
    loss_of(feats).backward()
    gradients = {f'{name}.grad.{keys.to_theirs(key)}': p.grad for key, p in backbone.named_parameters()}
    assert set(gradients) == {key for key in recorded if key.startswith(f'{name}.grad.')}
    for key, gradient in gradients.items():
        assert_matches(gradient, recorded[key], 1e-6, key)


@pytest.mark.parametrize('name', ['resnet18d', 'hgnet_b0_lab'])
@pytest.mark.parametrize('norm', ['bn', 'frozen'])
def test_maps_in_float32_fused_or_frozen_are_near(recorded, name, norm):
    """Frozen normalisation is the same in both modes; fusing it changes nothing either."""
    backbone = seeded_backbone(name, norm=norm).float().train(norm == 'frozen')
    with torch.no_grad():
        feats = backbone(image().float())
        fused = fuse_conv_bn(backbone.eval())(image().float())
    assert not any(hasattr(module, 'running_mean') for module in backbone.modules())
    for index in range(4):
        for found in (feats, fused):
            assert_matches(found[index], recorded[f'{name}.eval.{index}'], 1e-4, f'{norm}.{index}')
