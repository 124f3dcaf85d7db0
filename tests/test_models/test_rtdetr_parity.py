"""Outputs, matching, losses, gradients and detections equal those of Hugging Face's transformers 5.24
(tests/parity/record_transformers_rtdetr.py says how they were recorded)."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from parity.query_layers import gt_batch, training_pass
from parity.rtdetr_shapes import (
    MAX_OBJECTS,
    MODELS,
    NUM_CLASSES,
    NUM_DENOISING,
    NUM_QUERIES,
    TRAINED,
    images,
    rtdetr_state,
)
from parity.seeded import assert_matches

from detkit.config import load_config
from detkit.converters.rtdetr_keys import RTDETR_KEYS
from detkit.models.layers import fuse_conv_bn
from detkit.registry import DETECTORS
from detkit.structures.targets import Candidates
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'rtdetr.npz'
HUB_KEYS = RTDETR_KEYS['hugging_face']
NAMES = ('loss_cls', 'loss_box', 'loss_giou')


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@without_initial_values()
def seeded_rtdetr(name: str) -> torch.nn.Module:
    shape = MODELS[name]
    base = CONFIGS / '_base_' / 'models' / 'rtdetr.py'
    config = load_config(base, dict(size=f'r{shape.depth}'), need_classes=False).model
    config.backbone.frozen_stages = -1  # as the reference
    config.head.update(num_classes=NUM_CLASSES, num_queries=NUM_QUERIES, num_denoising=NUM_DENOISING)
    config.head.decoder.update(num_layers=shape.layers, discrete=shape.version == 2)
    model = DETECTORS.build(config).double()
    shapes = {HUB_KEYS.to_theirs(key): tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict(HUB_KEYS.convert(rtdetr_state(shapes)))
    return model


def assert_outputs(preds: dict, recorded: dict, prefix: str, tolerance: float = 1e-6) -> None:
    for key in ('enc_cls_logits', 'enc_bbox_preds'):
        assert_matches(preds[key], recorded[f'{prefix}.{key}'], tolerance, key)
    for key in ('cls_logits', 'bbox_preds'):
        layers = torch.cat([preds[f'dn_{key}'], preds[key]], dim=2)
        assert f'{prefix}.{key}.{len(layers) - 1}' in recorded and f'{prefix}.{key}.{len(layers)}' not in recorded
        for index, layer in enumerate(layers):
            assert_matches(layer, recorded[f'{prefix}.{key}.{index}'], tolerance, f'{key} of layer {index}')


@pytest.fixture(scope='module', params=MODELS)
def evaluated(request):
    """A model in evaluation mode with its maps, its selected cells and its predictions."""
    name, cells = request.param, []
    model = seeded_rtdetr(name).eval()
    model.head.selection.register_forward_hook(lambda module, args, output: cells.append(output.cell_idx))
    with torch.no_grad():
        feats = model.extract_feat(images(name))
        preds = model.head(feats)
    return name, model, feats, cells[0], preds


@pytest.mark.default_cases(2)
def test_maps_selection_and_layers_equal_the_reference(recorded, evaluated):
    name, _, feats, cells, preds = evaluated
    for level, feat in enumerate(feats):
        assert_matches(feat, recorded[f'{name}.eval.maps.{level}'], 1e-6, f'map {level}')
    assert cells.tolist() == recorded[f'{name}.eval.cells'].tolist()
    assert preds['dn_cls_logits'].shape[2] == 0
    assert_outputs(preds, recorded, f'{name}.eval')


def test_detections_equal_the_reference(recorded, evaluated):
    name, model, _, _, preds = evaluated
    shape = MODELS[name].size
    metas = [dict(img_shape=shape, ori_shape=shape, matrix=np.eye(3))] * 3
    model.head.test_cfg['max_per_img'] = NUM_QUERIES  # the reference reports as many as there are queries
    for image, result in enumerate(model.head.predict(preds, metas)):
        found = result.pred_instances
        table = torch.cat([found.bboxes, found.scores.unsqueeze(1), found.labels.unsqueeze(1)], 1)
        assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')


def test_float32_and_fused_outputs_equal_the_reference(recorded, evaluated):
    name, model, *_ = evaluated
    if name == 'r50':
        pytest.skip('r18 has the same parts')
    with torch.no_grad():
        assert_outputs(fuse_conv_bn(copy.deepcopy(model))(images(name)), recorded, f'{name}.eval')
        if name == 'r18':  # a discrete point may round to the next cell
            assert_outputs(copy.deepcopy(model).float()(images(name).float()), recorded, f'{name}.eval', 1e-4)


@pytest.fixture(scope='module', params=TRAINED)
def trained(request):
    """A model in training mode with its predictions and the gradients of its losses."""
    name = request.param
    model = seeded_rtdetr(name).train()
    gt = gt_batch(*MODELS[name].size)
    return name, model, training_pass(model, images(name), gt), gt


@pytest.mark.default_cases(1)
def test_training_outputs_with_denoising_equal_the_reference(recorded, trained):
    name, _, preds, _ = trained
    assert preds['dn_cls_logits'].shape[2] == 2 * MAX_OBJECTS * (NUM_DENOISING // MAX_OBJECTS)
    assert_outputs(preds, recorded, f'{name}.train')


def test_matching_equals_the_reference(recorded, trained):
    name, model, preds, gt = trained
    gt.img_shapes = preds['img_shapes']
    for layers, key in enumerate(('', 'enc_')):
        logits, bboxes = (preds[f'{key}{kind}'] for kind in ('cls_logits', 'bbox_preds'))
        if layers:
            logits, bboxes = logits.unsqueeze(0), bboxes.unsqueeze(0)
        assigned = model.head.assigner(Candidates(logits, bboxes), None, gt)
        for index, own in enumerate(assigned.prior_idx.squeeze(-1), layers * MODELS[name].layers):
            for image, count in enumerate(gt.valid.sum(1).tolist()):
                assert own[image, :count].tolist() == recorded[f'{name}.queries.{index}.{image}'].tolist()


def test_losses_equal_the_reference(recorded, trained):
    name, model, preds, gt = trained
    expected = recorded[f'{name}.losses']
    layers, denoised = model.head.layer_losses(preds, gt)
    assert tuple(layers) == tuple(denoised) == NAMES
    found = torch.cat([torch.stack(list(part.values()), 1) for part in (layers, denoised)])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    losses, last = model.head.loss(preds, gt), MODELS[name].layers - 1
    assert [losses[key].item() for key in NAMES] == pytest.approx(expected[last], rel=1e-6)
    assert losses['loss_aux'].item() == pytest.approx(expected[:last].sum(), rel=1e-6)
    assert losses['loss_enc'].item() == pytest.approx(expected[last + 1].sum(), rel=1e-6)
    assert losses['loss_dn'].item() == pytest.approx(expected[last + 2 :].sum(), rel=1e-6)


def test_gradients_equal_the_reference(recorded, trained):
    name, model, *_ = trained
    prefix = f'{name}.grad.'
    expected = {key.removeprefix(prefix): value for key, value in recorded.items() if key.startswith(prefix)}
    gradients = {HUB_KEYS.to_theirs(key): p.grad for key, p in model.named_parameters() if p.requires_grad}
    assert set(gradients) == set(expected)
    flat = []
    for key, gradient in gradients.items():
        if expected[key][1] < 1e-9:  # no loss depends on a bias of all keys alike, or on one before a normalisation
            assert gradient.abs().max() < 1e-9, key
            flat.append(key)
        else:
            assert_matches(gradient, expected[key], 1e-6, key)
    assert len(flat) < 12 and all(key.endswith('.bias') for key in flat)
