"""YOLOv8 with rotated boxes equals ultralytics 8.4.190 (tests/parity/record_ultralytics_obb.py says how recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity.rotated_shapes import rotated_ground_truth, rotated_state
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import IMG_SHAPE
from yolov8_models import build_yolov8

from detkit.converters.ultralytics_keys import YOLOV8_KEYS
from detkit.models.losses import prob_iou
from detkit.structures.gt_batch import GtBatch
from detkit.structures.rotated_bboxes import corners_to_rbboxes, rbboxes_to_xywhr
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'obb_yolov8.npz'
LOSSES = ('box', 'cls', 'dfl', 'angle')


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@without_initial_values()
def seeded_model(size: str, seed: int) -> torch.nn.Module:
    model = build_yolov8('obb', size).double()
    shapes = {YOLOV8_KEYS['obb'].to_theirs(name): tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(YOLOV8_KEYS['obb'].convert(rotated_state(shapes, size, seed)))
    return model


def gt_batch(dtype: torch.dtype = torch.float64) -> GtBatch:
    truth = rotated_ground_truth()
    counts = [len(labels) for labels, _ in truth]
    labels = torch.full((len(truth), max(counts)), -1)
    rbboxes = torch.zeros(len(truth), max(counts), 5, dtype=dtype)
    for image, (image_labels, image_rbboxes) in enumerate(truth):
        labels[image, : counts[image]] = torch.from_numpy(image_labels)
        rbboxes[image, : counts[image]] = torch.from_numpy(image_rbboxes)
    valid = labels >= 0
    return GtBatch(
        labels=labels,
        bboxes=torch.zeros(*labels.shape, 4, dtype=dtype),
        valid=valid,
        rbboxes=rbboxes,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor([IMG_SHAPE] * len(truth)),
    )


def images(seed: int) -> torch.Tensor:
    return seeded_tensor((len(rotated_ground_truth()), 3, *IMG_SHAPE), 'image', seed)


@pytest.mark.parametrize('size', ['n', 'm'])
def test_losses_and_gradients_equal_the_reference(recorded, size):
    seed = int(recorded['seed'])
    model = seeded_model(size, seed).train()
    losses = model(images(seed), gt_batch(), mode='loss')
    assert list(losses) == [f'loss_{name}' for name in LOSSES]
    for name, expected in zip(LOSSES, recorded[f'obb_{size}.losses'], strict=True):
        assert losses[f'loss_{name}'].item() == pytest.approx(expected, rel=1e-6), name
    sum(losses.values()).backward()
    gradients = {YOLOV8_KEYS['obb'].to_theirs(key): parameter.grad for key, parameter in model.named_parameters()}
    prefix = f'obb_{size}.grad.'
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    for key, gradient in gradients.items():
        assert_matches(gradient, recorded[prefix + key], 1e-6, key)


@pytest.mark.parametrize('size', ['n', 'm'])
def test_outputs_and_detections_equal_the_reference(recorded, size):
    name, seed = f'obb_{size}', int(recorded['seed'])
    model = seeded_model(size, seed)
    with torch.no_grad():
        preds = {'eval': model.eval()(images(seed))}
        preds['train'] = model.train()(images(seed))
    for mode in preds:
        flat = {key: torch.cat([level.flatten(2) for level in levels], -1) for key, levels in preds[mode].items()}
        assert_matches(flat['bbox_preds'], recorded[f'{name}.{mode}.boxes'], 1e-6)
        assert_matches(flat['cls_logits'], recorded[f'{name}.{mode}.scores'], 1e-6)
        assert_matches(model.head.bbox_coder.angles(flat['angle_logits']), recorded[f'{name}.{mode}.angle'], 1e-6)
    flat = model.head._flatten(preds['eval'])
    rbboxes = model.head._decode(flat, model.head._priors(preds['eval']))
    decoded = torch.cat([rbboxes[..., :4], flat['cls_logits'].sigmoid(), rbboxes[..., 4:]], -1).transpose(1, 2)
    assert_matches(decoded, recorded[f'{name}.decoded'], 1e-6)
    for image, found in enumerate(model.head._suppress(rbboxes, flat['cls_logits'].sigmoid())):
        table = torch.cat([found.bboxes[:, :4], found.scores[:, None], found.labels[:, None], found.bboxes[:, 4:]], 1)
        assert len(table) == recorded[f'{name}.detections.{image}.count'] > 10
        assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')


def test_losses_in_float32_are_near(recorded):
    seed = int(recorded['seed'])
    losses = seeded_model('n', seed).float().train()(images(seed).float(), gt_batch(torch.float32), mode='loss')
    for name, expected in zip(LOSSES, recorded['obb_n.losses'], strict=True):
        assert losses[f'loss_{name}'].item() == pytest.approx(expected, rel=1e-3), name


def test_overlaps_equal_the_reference(recorded):
    first, _, third = (torch.from_numpy(rbboxes) for _, rbboxes in rotated_ground_truth())
    overlaps = prob_iou(first[:, None], third)
    assert overlaps.numpy() == pytest.approx(recorded['prob_iou'], abs=1e-6)
    assert (overlaps > 0.1).any() and (overlaps < 0.01).any()


def test_rectangles_around_corners_equal_the_reference(recorded):
    corners = recorded['corners'].reshape(-1, 4, 2)
    ours, theirs = corners_to_rbboxes(corners), recorded['xywhr']
    assert ours[:, :4] == pytest.approx(theirs[:, :4], abs=1e-3)
    assert ours[:, 4] == pytest.approx(theirs[:, 4], abs=1e-3)
    assert ((rbboxes_to_xywhr(ours)[:, 4] >= 0) & (rbboxes_to_xywhr(ours)[:, 4] < np.pi / 2)).all()
