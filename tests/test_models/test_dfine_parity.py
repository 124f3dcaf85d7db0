"""Outputs and gradients equal those of Hugging Face's transformers 5.24, losses those of the authors' criterion in
pydfine 0.2.1 (tests/parity/record_transformers_dfine.py says how they were recorded)."""

import copy
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from parity.dfine_shapes import MODELS, NUM_CLASSES, NUM_DENOISING, NUM_QUERIES, TRAINED, dfine_state, images
from parity.query_layers import assert_every_layer, assert_last_layer, gt_batch, losses_of_layers, training_pass
from parity.seeded import assert_matches

from detkit.config import load_config
from detkit.converters.rtdetr_keys import DFINE_KEYS
from detkit.models.layers import fuse_conv_bn
from detkit.registry import DETECTORS
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'dfine.npz'


def in_memory(name: str) -> str:
    """The name that transformers 5 gives in memory to a parameter of its files."""
    name = name.replace('.out_proj.', '.o_proj.').replace('.encoder.encoder.0.layers.', '.encoder.aifi.0.layers.')
    return re.sub(r'\.fc([12])\.', lambda match: f'.mlp.layers.{int(match[1]) - 1}.', name)


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


def their_name(name: str, key: str) -> str:
    return in_memory(DFINE_KEYS[len(MODELS[name].decoder[3])]['hugging_face'].to_theirs(key))


@without_initial_values()
def seeded_dfine(name: str) -> torch.nn.Module:
    shape = MODELS[name]
    config = load_config(CONFIGS / '_base_' / 'models' / 'dfine.py', dict(size=shape.size), need_classes=False).model
    channels, encoder_ffn, expansion, depth = shape.encoder
    dims, ffn, layers, points, reg_scale = shape.decoder
    config.backbone.norm = 'frozen' if shape.frozen else 'bn'
    config.neck.update(out_channels=channels, feedforward_dims=encoder_ffn, deepen_factor=depth)
    config.neck.block.expansion = expansion
    config.head.update(num_classes=NUM_CLASSES, num_queries=NUM_QUERIES, num_denoising=NUM_DENOISING)
    config.head.decoder.update(
        embed_dims=dims, feedforward_dims=ffn, num_layers=layers, num_points=points, reg_scale=reg_scale
    )
    model = DETECTORS.build(config).double()
    own = model.state_dict()
    names = {their_name(name, key): key for key in own}
    shapes = {theirs: tuple(own[key].shape) for theirs, key in names.items()}
    state = dfine_state(shapes, reg_scale)
    model.load_state_dict({key: state[theirs] for theirs, key in names.items()})
    return model


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('name', MODELS)
def test_maps_and_the_last_layer_equal_the_reference(recorded, name):
    model = seeded_dfine(name).eval()
    with torch.no_grad():
        feats = model.extract_feat(images(name))
        for level, feat in enumerate(feats):
            assert_matches(feat, recorded[f'{name}.eval.maps.{level}'], 1e-6, f'map {level}')
        assert_last_layer(model.head(feats), recorded, name)
        if name == 'other':
            return
        assert_last_layer(copy.deepcopy(model).float()(images(name).float()), recorded, name, 1e-4)
        assert_last_layer(fuse_conv_bn(model)(images(name)), recorded, name)


@pytest.fixture(
    scope='module',
    params=[pytest.param(name, marks=pytest.mark.slow if name == 's' else []) for name in TRAINED],
)
def trained(request):
    """A model in training mode with its predictions and the gradients of its losses."""
    name = request.param
    model, gt = seeded_dfine(name).train(), gt_batch(*MODELS[name].img_shape)
    return name, model, training_pass(model, images(name), gt), gt


def test_outputs_of_every_layer_equal_the_reference(recorded, trained):
    name, _, preds, _ = trained
    assert_every_layer(preds, recorded, name)


def test_losses_equal_the_reference(recorded, trained):
    name, model, preds, gt = trained
    layers, denoised = model.head.layer_losses(preds, replace(gt))
    theirs = dict(loss_cls='vfl', loss_box='bbox', loss_giou='giou', loss_dfl='fgl', loss_distill='ddf')
    prefix = f'{name}.loss.loss_'
    expected = {key.removeprefix(prefix): value.item() for key, value in recorded.items() if key.startswith(prefix)}
    found = losses_of_layers(layers, denoised, len(preds['cls_logits']), theirs)
    assert found.pop('ddf') == pytest.approx(0, abs=1e-12)  # the teacher itself, which the reference leaves out
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)
    losses = model.head.loss(preds, gt)
    assert sum(value.item() for value in losses.values()) == pytest.approx(sum(expected.values()), rel=1e-7)
    assert losses['loss_cls'].item() == pytest.approx(expected['vfl'])
    assert losses['loss_dfl'].item() == pytest.approx(expected['fgl'])


def test_gradients_equal_the_reference(recorded, trained):
    name, model, *_ = trained
    prefix = f'{name}.grad.'
    expected = {key.removeprefix(prefix): value for key, value in recorded.items() if key.startswith(prefix)}
    gradients = {their_name(name, key): p.grad for key, p in model.named_parameters() if p.requires_grad}
    assert set(gradients) == set(expected)
    flat = []
    for key, gradient in gradients.items():
        if expected[key][1] < 1e-9:  # no loss depends on a bias of all keys alike, or before a normalisation
            assert gradient.abs().max() < 1e-9, key
            flat.append(key)
        else:
            assert_matches(gradient, expected[key], 1e-6, key)
    assert len(flat) < 40 and all(key.endswith('bias') for key in flat)
