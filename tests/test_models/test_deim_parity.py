"""Outputs, matching, class losses and gradients of DEIM and DEIMv2 equal those of Hugging Face's transformers 5.24, the
other losses the authors' criterion in pydfine 0.2.1 (tests/parity/record_transformers_deim.py says how they were
recorded)."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from parity.deim_shapes import (
    DFINE,
    NUM_CLASSES,
    NUM_DENOISING,
    NUM_QUERIES,
    TRAINED,
    V2,
    deim_state,
    images,
    img_shape,
)
from parity.dfine_shapes import dfine_state
from parity.query_layers import assert_every_layer, assert_last_layer, gt_batch, losses_of_layers, training_pass
from parity.rtdetr_shapes import objects
from parity.seeded import assert_matches
from test_dfine_parity import their_name as dfine_name

from detkit.config import load_config
from detkit.converters.deim_layout import HUB_KEYS, unpack
from detkit.models.heads.query_head import find_matches
from detkit.models.layers import fuse_conv_bn
from detkit.registry import DETECTORS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'deim.npz'
NAMES = (*V2, *DFINE)


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


def as_theirs(name: str, ours: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights or gradients by transformers' names, each tensor as it is there."""
    if name in DFINE:
        return {dfine_name('other', key): value for key, value in ours.items()}
    theirs = {HUB_KEYS.to_theirs(key): value for key, value in ours.items()}
    for key in list(theirs):
        if '.conv1a.' in key:  # one convolution there
            halves = theirs.pop(key), theirs.pop(key.replace('.conv1a.', '.conv1b.'))
            theirs[key.replace('.conv1a.', '.conv1.')] = torch.cat(halves) if halves[0].ndim else halves[0]
        elif '.gate_up_proj.' in key:
            gate, up = theirs.pop(key).chunk(2)
            theirs |= {
                key.replace('.gate_up_proj.', f'.{part}_proj.'): half for part, half in (('gate', gate), ('up', up))
            }
        elif '.decoder.scale.' in key:
            theirs[key.replace('.scale.', '.')] = theirs.pop(key)
        elif V2[name].size != 'n' and '.gateway.norm.' in key:
            theirs[key.replace('.gateway.norm.', '.encoder_attn_layer_norm.')] = theirs.pop(key)
    return theirs


def model_config(name: str):
    base = 'deim' if name in DFINE else 'deimv2'
    size = DFINE[name].size if name in DFINE else V2[name].size
    config = load_config(CONFIGS / '_base_' / 'models' / f'{base}.py', dict(size=size), need_classes=False).model
    config.head.update(num_classes=NUM_CLASSES, num_queries=NUM_QUERIES, num_denoising=NUM_DENOISING)
    if name in DFINE:
        channels, encoder_ffn, expansion, depth = DFINE[name].encoder
        dims, ffn, layers, points, reg_scale = DFINE[name].decoder
        config.neck.update(out_channels=channels, feedforward_dims=encoder_ffn, deepen_factor=depth)
        config.neck.block.expansion = expansion
        config.head.decoder.update(
            embed_dims=dims, feedforward_dims=ffn, num_layers=layers, num_points=points, reg_scale=reg_scale
        )
        return config
    config.head.decoder.num_layers = V2[name].layers
    if V2[name].as_library:
        config.head.update(project_cells=True, act='ReLU')
        config.head.decoder.update(act='ReLU', fixed_positions=False)
    return config


@without_initial_values()
def seeded_deim(name: str) -> torch.nn.Module:
    model = DETECTORS.build(model_config(name)).double()
    own = model.state_dict()
    shapes = {key: tuple(value.shape) for key, value in as_theirs(name, own).items()}
    state = dfine_state(shapes, DFINE[name].decoder[-1]) if name in DFINE else deim_state(shapes)
    fill(name, model, state)
    return model


def fill(name: str, model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Load weights of transformers' names, as the converter does."""
    if name in DFINE:
        ours = {key: state[dfine_name('other', key)] for key in model.state_dict()}
    else:
        ours = HUB_KEYS.convert(unpack(state, 'hugging_face'))
    model.load_state_dict(ours)


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('name', NAMES)
def test_maps_last_layer_and_detections_equal_the_reference(recorded, name):
    model = seeded_deim(name).eval()
    shape = img_shape(name)
    metas = [dict(img_shape=shape, ori_shape=shape, matrix=np.eye(3))] * 3
    model.head.test_cfg['max_per_img'] = NUM_QUERIES  # the reference reports as many as there are queries
    with torch.no_grad():
        feats = model.extract_feat(images(name))
        for level, feat in enumerate(feats):
            assert_matches(feat, recorded[f'{name}.eval.maps.{level}'], 1e-6, f'map {level}')
        preds = model.head(feats)
        assert_last_layer(preds, recorded, name)
        for image, result in enumerate(model.head.predict(preds, metas)):
            found = result.pred_instances
            table = torch.cat([found.bboxes, found.scores.unsqueeze(1), found.labels.unsqueeze(1)], 1)
            assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')
        if name in V2:
            assert_last_layer(copy.deepcopy(model).float()(images(name).float()), recorded, name, 1e-4)
            assert_last_layer(fuse_conv_bn(model)(images(name)), recorded, name)


@pytest.fixture(scope='module', params=TRAINED)
def trained(request):
    """A model in training mode with its predictions and the gradients of its losses."""
    name = request.param
    model, gt = seeded_deim(name).train(), gt_batch(*img_shape(name))
    return name, model, training_pass(model, images(name), gt), gt


def test_outputs_of_every_layer_equal_the_reference(recorded, trained):
    name, _, preds, _ = trained
    assert_every_layer(preds, recorded, name)


def test_matching_equals_the_reference(recorded, trained):
    name, model, preds, gt = trained
    cls_logits, bbox_preds = (
        torch.cat((preds[key], preds[f'pre_{key}'], preds[f'enc_{key}'].unsqueeze(0)))
        for key in ('cls_logits', 'bbox_preds')
    )
    scaled = GtBatch(**{**vars(gt), 'img_shapes': preds['img_shapes']})
    matches = find_matches(model.head.assigner(Candidates(cls_logits, bbox_preds), None, scaled), scaled, NUM_QUERIES)
    counts = [len(labels) for labels, _ in objects()]
    for index, layer in enumerate(matches.query_idx):
        for image, queries in enumerate(layer.split(counts)):
            expected = recorded[f'{name}.queries.{index}.{image}'] + image * NUM_QUERIES
            assert queries.tolist() == expected.tolist()


def test_losses_equal_the_reference(recorded, trained):
    name, model, preds, gt = trained
    layers, denoised = model.head.layer_losses(preds, gt)
    theirs = dict(loss_cls='mal', loss_box='bbox', loss_giou='giou', loss_dfl='fgl', loss_distill='ddf')
    prefix = f'{name}.loss.'
    expected = {key.removeprefix(prefix): value.item() for key, value in recorded.items() if key.startswith(prefix)}
    found = losses_of_layers(layers, denoised, len(preds['cls_logits']), theirs)
    assert found.pop('ddf', 0) == pytest.approx(0, abs=1e-12)  # the teacher itself, which the reference leaves out
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert ('fgl' in found) == (name != 'pico')
    losses = model.head.loss(preds, gt)
    assert sum(value.item() for value in losses.values()) == pytest.approx(sum(expected.values()), rel=1e-7)


def test_gradients_equal_the_reference(recorded, trained):
    name, model, *_ = trained
    prefix = f'{name}.grad.'
    expected = {key.removeprefix(prefix): value for key, value in recorded.items() if key.startswith(prefix)}
    own = {
        key: torch.zeros_like(p) if p.grad is None else p.grad for key, p in model.named_parameters() if p.requires_grad
    }
    gradients = as_theirs(name, own)
    unused = [key for key in gradients if key not in expected]
    assert all(not gradients[key].any() for key in unused) and len(unused) <= 4, unused
    assert set(expected) <= set(gradients)
    flat = []
    for key, expectation in expected.items():
        gradient = gradients[key]
        if expectation[1] < 1e-9:  # no loss depends on a bias of all keys alike, or before a normalisation
            assert gradient.abs().max() < 1e-9, key
            flat.append(key)
        else:
            assert_matches(gradient, expectation, 1e-6, key)
    assert len(flat) < 40 and all(key.endswith('bias') for key in flat)
