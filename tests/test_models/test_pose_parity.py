"""Pose: outputs, losses, gradients and detections equal those of ultralytics 8.4.190 (see record_ultralytics_pose)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity.pose_shapes import POSE_MODELS, pose_ground_truth
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import IMG_SHAPE, loss_state
from yolov8_models import yolov8_config

from detkit.converters.ultralytics_keys import YOLOV8_KEYS
from detkit.registry import DETECTORS
from detkit.structures.gt_batch import GtBatch
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'pose_yolov8.npz'
NAMES = ('box', 'pose', 'kobj', 'cls', 'dfl')


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@without_initial_values()
def seeded_model(name: str, seed: int) -> torch.nn.Module:
    num_classes, keypoint_shape = POSE_MODELS[name]
    cfg = yolov8_config('pose', name.split('_')[1], num_classes)
    cfg.head.keypoint_shape = keypoint_shape
    model = DETECTORS.build(cfg).double()
    shapes = {YOLOV8_KEYS['pose'].to_theirs(key): tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict(YOLOV8_KEYS['pose'].convert(loss_state(shapes, seed)))
    return model


def gt_batch(name: str, seed: int) -> GtBatch:
    num_classes, (num_keypoints, _) = POSE_MODELS[name]
    truth = pose_ground_truth(num_classes, num_keypoints, seed)
    counts = [len(labels) for labels, _, _ in truth]
    labels = torch.full((len(truth), max(counts)), -1)
    bboxes = torch.zeros(*labels.shape, 4, dtype=torch.float64)
    keypoints = torch.zeros(*labels.shape, num_keypoints, 3, dtype=torch.float64)
    for image, arrays in enumerate(truth):
        for target, array in zip((labels, bboxes, keypoints), arrays, strict=True):
            target[image, : counts[image]] = torch.from_numpy(array)
    valid = labels >= 0
    return GtBatch(
        labels=labels,
        bboxes=bboxes,
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor([IMG_SHAPE] * len(truth)),
        keypoints=keypoints,
    )


def image_batch(seed: int) -> torch.Tensor:
    return seeded_tensor((3, 3, *IMG_SHAPE), 'image', seed)


@pytest.mark.parametrize('name', POSE_MODELS)
def test_outputs_and_detections_equal_the_reference(recorded, name):
    seed = int(recorded['seed'])
    model = seeded_model(name, seed).eval()
    with torch.no_grad():
        preds = model(image_batch(seed))
    for theirs, ours in {'boxes': 'bbox_preds', 'scores': 'cls_logits', 'keypoints': 'keypoint_preds'}.items():
        tensor = torch.cat([level.flatten(2) for level in preds[ours]], -1)
        assert_matches(tensor, recorded[f'{name}.eval.{theirs}'], 1e-6, theirs)
    results = model.head.predict(preds, [dict(matrix=np.eye(3), ori_shape=IMG_SHAPE)] * 3)
    for image, result in enumerate(results):
        found = result.pred_instances
        keypoints = found.keypoints
        if model.head.keypoint_shape[1] == 3:
            keypoints = torch.cat([keypoints, found.keypoint_scores.unsqueeze(-1)], -1)
        else:
            assert (found.keypoint_scores == 1).all()
        table = torch.cat([found.bboxes, found.scores[:, None], found.labels[:, None], keypoints.flatten(1)], 1)
        assert len(table) == recorded[f'{name}.detections.{image}.count']
        assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('name', POSE_MODELS)
def test_losses_and_gradients_equal_the_reference(recorded, name):
    seed = int(recorded['seed'])
    model = seeded_model(name, seed).train()
    losses = model(image_batch(seed), gt_batch(name, seed), mode='loss')
    expected = dict(zip(NAMES, recorded[f'{name}.losses'], strict=True))
    assert list(losses) == [f'loss_{key}' for key in NAMES if key != 'kobj' or POSE_MODELS[name][1][1] == 3]
    for key, value in losses.items():
        assert value.item() == pytest.approx(expected[key.removeprefix('loss_')], rel=1e-6), key
    sum(losses.values()).backward()
    gradients = {YOLOV8_KEYS['pose'].to_theirs(key): parameter.grad for key, parameter in model.named_parameters()}
    prefix = f'{name}.grad.'
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    for key, gradient in gradients.items():
        assert_matches(gradient, recorded[prefix + key], 1e-6, key)
