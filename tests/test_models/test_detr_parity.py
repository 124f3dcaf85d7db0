"""Outputs, matching, losses, gradients and detections equal those of Hugging Face's transformers 5.23
(tests/parity/record_transformers_detr.py says how they were recorded)."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from detr_models import build_detr
from parity.detr_shapes import IMG_SHAPES, MODELS, detr_state, images, objects
from parity.seeded import assert_matches

from detkit.converters.detr_file import DETR_KEYS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'detr.npz'
LAYOUT = 'hugging_face'


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@without_initial_values()
def seeded_detr(name: str, seed: int, **backbone) -> torch.nn.Module:
    model = build_detr(name, **backbone).double()
    shapes = {DETR_KEYS[LAYOUT].to_theirs(key): tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict(DETR_KEYS[LAYOUT].convert(detr_state(shapes, seed)))
    return model.train()  # nothing depends on it: normalisation is frozen and there is no dropout


def gt_batch() -> GtBatch:
    truth = objects()
    most = max(len(labels) for labels, _ in truth)
    labels = torch.full((len(truth), most), -1)
    bboxes = torch.zeros(len(truth), most, 4, dtype=torch.float64)
    for image, ((own, relative), (height, width)) in enumerate(zip(truth, IMG_SHAPES, strict=True)):
        centres, halves = relative[:, :2], relative[:, 2:] / 2
        labels[image, : len(own)] = own
        corners = torch.cat([centres - halves, centres + halves], 1)
        bboxes[image, : len(own)] = corners * torch.tensor([width, height] * 2)
    valid = labels >= 0
    return GtBatch(
        labels=labels,
        bboxes=bboxes,
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor(IMG_SHAPES),
    )


def assert_outputs(preds: dict, recorded: dict, name: str) -> None:
    for key, layers in preds.items():
        assert f'{name}.{key}.{len(layers) - 1}' in recorded and f'{name}.{key}.{len(layers)}' not in recorded
        for index, layer in enumerate(layers):
            assert_matches(layer, recorded[f'{name}.{key}.{index}'], 1e-6, f'{key} of layer {index}')


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('name', [name for name in MODELS if name != 'r50'])
def test_outputs_of_every_layer_equal_the_reference(recorded, name):
    seed = int(recorded['seed'])
    with torch.no_grad():
        assert_outputs(seeded_detr(name, seed)(images(seed), gt_batch()), recorded, name)


@pytest.fixture(scope='module')
def trained(recorded):
    """R50 with its predictions and the gradients of its losses."""
    seed = int(recorded['seed'])
    model = seeded_detr('r50', seed, frozen_stages=-1)  # as the reference
    preds = model(images(seed), gt_batch())
    sum(model.head.loss(preds, gt_batch()).values()).backward()
    return model, {name: value.detach() for name, value in preds.items()}


def test_r50_outputs_of_every_layer_equal_the_reference(recorded, trained):
    assert_outputs(trained[1], recorded, 'r50')


def test_float32_outputs_equal_the_reference(recorded, trained):
    with torch.no_grad():
        preds = copy.deepcopy(trained[0]).float()(images(int(recorded['seed'])).float(), gt_batch())
    for key, layers in preds.items():
        assert layers.dtype == torch.float32
        for index, layer in enumerate(layers):
            assert_matches(layer, recorded[f'r50.{key}.{index}'], 1e-4, f'{key} of layer {index}')


def test_matching_of_every_layer_equals_the_reference(recorded, trained):
    model, preds = trained
    gt = gt_batch()
    assigned = model.head.assigner(Candidates(preds['cls_logits'], preds['bbox_preds']), None, gt)
    assert torch.equal(assigned.valid, gt.valid.unsqueeze(-1).expand(len(preds['cls_logits']), -1, -1, -1))
    for layer, own in enumerate(assigned.prior_idx.squeeze(-1)):
        for image, count in enumerate(gt.valid.sum(1).tolist()):
            assert own[image, :count].tolist() == recorded[f'queries.{layer}.{image}'].tolist()


def test_losses_of_every_layer_equal_the_reference(recorded, trained):
    model, preds = trained
    names = ('loss_cls', 'loss_box', 'loss_giou')
    layers = model.head.layer_losses(preds, gt_batch())
    assert tuple(layers) == names
    np.testing.assert_allclose(torch.stack(list(layers.values()), 1).numpy(), recorded['losses'], rtol=1e-6)
    losses = model.head.loss(preds, gt_batch())
    for name, expected in zip(names, recorded['losses'][-1], strict=True):
        assert losses[name].item() == pytest.approx(expected, rel=1e-6)
    assert losses['loss_aux'].item() == pytest.approx(recorded['losses'][:-1].sum(), rel=1e-6)


def test_gradients_equal_the_reference(recorded, trained):
    gradients = {
        DETR_KEYS[LAYOUT].to_theirs(key): p.grad for key, p in trained[0].named_parameters() if p.requires_grad
    }
    expected = {key.removeprefix('grad.'): value for key, value in recorded.items() if key.startswith('grad.')}
    flat = []
    for key, gradient in list(gradients.items()):
        if expected[key][1] < 1e-9:
            # No loss depends on these: a bias of all keys alike, and the attention among inputs that are all 0.
            assert gradient.abs().max() < 1e-9, key
            flat.append(key)
        else:
            assert_matches(gradient, expected[key], 1e-6, key)
    assert set(gradients) == set(expected)
    assert all('k_proj.bias' in key or 'decoder.layers.0.self_attn' in key for key in flat) and len(flat) < 25


def test_detections_equal_the_reference(recorded, trained):
    model, preds = trained
    metas = [dict(img_shape=shape, ori_shape=shape, matrix=np.eye(3)) for shape in IMG_SHAPES]
    for image, result in enumerate(model.head.predict(preds, metas)):
        found = result.pred_instances
        table = torch.cat([found.bboxes, found.scores.unsqueeze(1), found.labels.unsqueeze(1)], 1)
        assert_matches(table, recorded[f'detections.{image}'], 1e-6, f'image {image}')


def test_prediction_takes_the_padding_from_the_data_samples(recorded, trained):
    model, preds = trained
    samples = [DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, matrix=np.eye(3))) for shape in IMG_SHAPES]
    with torch.no_grad():
        results = model(images(int(recorded['seed'])), data_samples=samples, mode='predict')
    expected = model.head.predict(preds, [sample.metainfo for sample in samples])
    for result, other in zip(results, expected, strict=True):
        assert torch.equal(result.pred_instances.labels, other.pred_instances.labels)
        torch.testing.assert_close(result.pred_instances.bboxes, other.pred_instances.bboxes)
