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
from parity.rtdetr_shapes import MAX_OBJECTS, draws, objects
from parity.seeded import assert_matches

from detkit.config import load_config
from detkit.converters.rtdetr_keys import DFINE_KEYS
from detkit.models.layers import denoising, fuse_conv_bn
from detkit.registry import DETECTORS
from detkit.structures.gt_batch import GtBatch

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
    names = {their_name(name, key): key for key in model.state_dict()}
    shapes = {theirs: tuple(model.state_dict()[key].shape) for theirs, key in names.items()}
    state = dfine_state(shapes, reg_scale)
    model.load_state_dict({key: state[theirs] for theirs, key in names.items()})
    return model


def gt_batch(name: str) -> GtBatch:
    height, width = MODELS[name].img_shape
    truth = objects()
    labels = torch.full((len(truth), MAX_OBJECTS), -1)
    bboxes = torch.zeros(len(truth), MAX_OBJECTS, 4, dtype=torch.float64)
    for image, (own, relative) in enumerate(truth):
        centres, halves = relative[:, :2], relative[:, 2:] / 2
        labels[image, : len(own)] = own
        corners = torch.cat([centres - halves, centres + halves], 1)
        bboxes[image, : len(own)] = corners * torch.tensor([width, height] * 2)
    valid = labels >= 0
    flat_index = valid.flatten().nonzero().squeeze(1)
    shapes = torch.tensor([[1, 1]] * len(truth))  # padding does not count
    return GtBatch(labels=labels, bboxes=bboxes, valid=valid, flat_index=flat_index, img_shapes=shapes)


def assert_last_layer(preds: dict, recorded: dict, name: str, tolerance: float = 1e-6) -> None:
    for key in ('cls_logits', 'bbox_preds'):
        assert_matches(preds[key][-1], recorded[f'{name}.eval.{key}'], tolerance, key)
    assert_matches(preds['edge_logits'][-1].flatten(-2), recorded[f'{name}.eval.edge_logits'], tolerance, 'edge_logits')


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
    model, gt = seeded_dfine(name).train(), gt_batch(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoising, 'keyed_uniform', lambda shape, like: draws(shape[1]))
        preds = model.head(model.extract_feat(images(name)), None, gt)
    sum(model.head.loss(preds, gt).values()).backward()
    return name, model, {key: value.detach() for key, value in preds.items()}, gt


def test_outputs_of_every_layer_equal_the_reference(recorded, trained):
    name, _, preds, _ = trained
    for key in ('cls_logits', 'bbox_preds', 'edge_logits'):
        layers = torch.cat([preds[f'dn_{key}'], preds[key]], dim=2)
        assert f'{name}.train.{key}.{len(layers)}' not in recorded
        for index, layer in enumerate(layers):
            layer = layer.flatten(-2) if key == 'edge_logits' else layer
            assert_matches(layer, recorded[f'{name}.train.{key}.{index}'], 1e-6, f'{key} of layer {index}')
    for key in ('pre_cls_logits', 'pre_bbox_preds'):
        layer = torch.cat([preds[f'dn_{key}'], preds[key]], dim=2)[0]
        assert_matches(layer, recorded[f'{name}.train.{key}'], 1e-6, key)


def test_losses_equal_the_reference(recorded, trained):
    name, model, preds, gt = trained
    layers, denoised = model.head.layer_losses(preds, replace(gt))
    last = len(preds['cls_logits']) - 1
    theirs = dict(loss_cls='vfl', loss_box='bbox', loss_giou='giou', loss_dfl='fgl', loss_distill='ddf')
    expected, found = {}, {}
    for key, value in recorded.items():
        if key.startswith(f'{name}.loss.'):
            expected[key.removeprefix(f'{name}.loss.loss_')] = value.item()
    for own, short in theirs.items():
        endings = [*(f'_aux_{index}' for index in range(last)), '', '_pre', '_enc_0'][: len(layers[own])]
        found |= {f'{short}{end}': value.item() for end, value in zip(endings, layers[own], strict=True)}
        endings = [*(f'_dn_{index}' for index in range(last + 1)), '_dn_pre'][: len(denoised[own])]
        found |= {f'{short}{end}': value.item() for end, value in zip(endings, denoised[own], strict=True)}
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
