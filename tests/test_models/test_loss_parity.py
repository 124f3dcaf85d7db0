"""Losses, gradients and detections equal those of ultralytics 8.4.190 (tests/parity says how they were recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import IMG_SHAPE, MASK_CASES, MASK_STRIDE, ground_truth, loss_state, mask_inputs
from yolov8_models import build_yolov8

from detkit.converters.ultralytics_keys import YOLOV8_KEYS
from detkit.models.postprocess import decode_masks
from detkit.structures.gt_batch import GtBatch
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'loss_yolov8.npz'
NAMES = ('box', 'seg', 'cls', 'dfl')


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@without_initial_values()
def seeded_model(task: str, size: str, seed: int) -> torch.nn.Module:
    model = build_yolov8(task, size).double()
    shapes = {YOLOV8_KEYS['seg'].to_theirs(name): tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(YOLOV8_KEYS['seg'].convert(loss_state(shapes, seed)))
    return model


def gt_batch(overlap: bool = True) -> GtBatch:
    truth = ground_truth()
    counts = [len(labels) for labels, _, _ in truth]
    batch_size, most = len(truth), max(counts)
    labels = torch.full((batch_size, most), -1)
    bboxes = torch.zeros(batch_size, most, 4, dtype=torch.float64)
    masks = torch.stack([torch.from_numpy(index_map) for _, _, index_map in truth])
    for image, (image_labels, image_bboxes, _) in enumerate(truth):
        labels[image, : counts[image]] = torch.from_numpy(image_labels)
        bboxes[image, : counts[image]] = torch.from_numpy(image_bboxes)
    if not overlap:
        masks = masks.unsqueeze(1) == torch.arange(1, most + 1).view(1, -1, 1, 1)  # (B, h, w) -> (B, M, h, w)
    valid = labels >= 0
    return GtBatch(
        labels=labels,
        bboxes=bboxes,
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor([IMG_SHAPE] * batch_size),
        masks=masks,
    )


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('size', ['n', pytest.param('s', marks=pytest.mark.slow), 'm'])
@pytest.mark.parametrize('task', ['det', 'seg'])
def test_losses_and_gradients_equal_the_reference(recorded, task, size):
    name, seed = f'{task}_{size}', int(recorded['seed'])
    model = seeded_model(task, size, seed).train()
    gt = gt_batch()
    losses = model(seeded_tensor((gt.batch_size, 3, *IMG_SHAPE), 'image', seed), gt, mode='loss')
    expected = dict(zip(NAMES, recorded[f'{name}.losses'], strict=True))
    assert list(losses) == [f'loss_{key}' for key in NAMES if task == 'seg' or key != 'seg']
    for key, value in losses.items():
        assert value.item() == pytest.approx(expected[key.removeprefix('loss_')], rel=1e-6), key
    sum(losses.values()).backward()
    gradients = {YOLOV8_KEYS['seg'].to_theirs(key): parameter.grad for key, parameter in model.named_parameters()}
    prefix = f'{name}.grad.'
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    for key, gradient in gradients.items():
        assert_matches(gradient, recorded[prefix + key], 1e-6, key)


def test_both_forms_of_masks_give_the_same_loss(recorded):
    model = seeded_model('seg', 'n', int(recorded['seed'])).train()
    image = seeded_tensor((len(ground_truth()), 3, *IMG_SHAPE), 'image', int(recorded['seed']))
    with torch.no_grad():
        loss = model(image, gt_batch(overlap=False), mode='loss')['loss_seg']
    assert loss.item() == pytest.approx(recorded['seg_n.losses'][1], rel=1e-6)


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('size', ['n', pytest.param('s', marks=pytest.mark.slow), 'm'])
@pytest.mark.parametrize('task', ['det', 'seg'])
def test_detections_equal_the_reference(recorded, task, size):
    name, seed = f'{task}_{size}', int(recorded['seed'])
    model = seeded_model(task, size, seed).eval()
    images = len(ground_truth())
    with torch.no_grad():
        preds = model(seeded_tensor((images, 3, *IMG_SHAPE), 'image', seed))
    results = model.head.predict(preds, [dict(matrix=np.eye(3), ori_shape=IMG_SHAPE)] * images)
    for image, result in enumerate(results):
        found = result.pred_instances
        table = torch.cat([found.bboxes, found.scores.unsqueeze(1), found.labels.unsqueeze(1)], 1)
        assert len(table) == recorded[f'{name}.detections.{image}.count']
        assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')


@pytest.mark.parametrize('case', MASK_CASES)
def test_masks_equal_the_reference(recorded, case):
    input_shape, ori_shape = MASK_CASES[case]
    protos, coeffs, bboxes = mask_inputs(input_shape, ori_shape, int(recorded['seed']))
    scale = min(input_shape[0] / ori_shape[0], input_shape[1] / ori_shape[1])
    matrix = np.diag([scale, scale, 1.0])
    matrix[:2, 2] = [(input_shape[1 - axis] - ori_shape[1 - axis] * scale) / 2 for axis in (0, 1)]
    masks = decode_masks(coeffs.numpy(), protos.numpy(), bboxes.numpy(), matrix, ori_shape, MASK_STRIDE).to_bool()
    expected = np.unpackbits(recorded[f'masks.{case}'])[: masks.size].reshape(masks.shape).astype(bool)
    # A logit within rounding of 0 may fall on either side.
    assert (masks != expected).mean() < 1e-4
    assert expected.any(axis=(1, 2)).all()
