"""YOLO26 equals ultralytics 8.4.190 in outputs, losses, gradients and detections, and in its number of parameters
(tests/parity/record_ultralytics_yolo26.py says how that was recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import build_model
from coverings import slow_unless
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import IMG_SHAPE
from parity.yolo26_state import yolo26_state
from test_classify_parity import gt_batch as class_batch
from test_loss_parity import gt_batch as bbox_batch
from test_obb_parity import gt_batch as rbbox_batch
from test_pose_parity import gt_batch as pose_batch

from detkit.converters.ultralytics_keys import yolo26_keys
from detkit.structures.gt_batch import GtBatch
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'yolo26.npz'
NUM_CLASSES = {'det': 80, 'seg': 80, 'pose': 1, 'obb': 80, 'cls': 1000}
INNER = {'n': 'bottleneck', 'm': 'c3k'}
LOSSES = {
    'det': ('box', 'cls', 'dfl'),
    'seg': ('box', 'seg', 'cls', 'dfl', 'sem'),
    'pose': ('box', 'pose', 'kobj', 'cls', 'dfl', 'rle'),
    'obb': ('box', 'cls', 'dfl', 'angle'),
    'cls': ('cls',),
}
OUTPUTS = {
    'boxes': 'bbox_preds',
    'scores': 'cls_logits',
    'coefficients': 'mask_coeffs',
    'protos': 'mask_protos',
    'semantic': 'semantic_logits',
    'keypoints': 'keypoint_preds',
    'deviations': 'keypoint_deviations',
    'angle': 'angle_logits',
    'logits': 'cls_logits',
}
MODELS = [slow_unless(size == 'n' or task == 'det', task, size) for task in NUM_CLASSES for size in INNER]


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        found = dict(arrays)
    names = str(found.pop('gradient_names')).split('\n')
    return found | dict(zip(names, found.pop('gradients'), strict=True))


@without_initial_values()
def seeded_model(task: str, size: str, seed: int) -> torch.nn.Module:
    model = build_model(f'yolo26_{task}', NUM_CLASSES[task], size=size).double()
    keys = yolo26_keys(task, INNER[size])
    shapes = {keys.to_theirs(name): tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(keys.convert(yolo26_state(shapes, task, seed)))
    return model


def ground_truth(task: str, recorded: dict) -> GtBatch:
    if task == 'cls':
        return class_batch(recorded['labels'].tolist())
    if task == 'obb':
        return rbbox_batch()
    # The keypoints' own seed is that of the recording of YOLOv8.
    return pose_batch('pose_n', 23) if task == 'pose' else bbox_batch()


def images(seed: int) -> torch.Tensor:
    return seeded_tensor((3, 3, *IMG_SHAPE), 'image', seed)


def assert_outputs(preds: dict, recorded: dict, prefix: str, heads: dict[str, str]) -> None:
    """``heads``: the reference's names of the heads that ``preds`` must have, with detkit's prefixes."""
    names = [key.removeprefix(prefix).split('.') for key in recorded if key.startswith(prefix)]
    checked = set()
    for head, name in [(None, *name) if len(name) == 1 else name for name in names]:
        if head is not None and head not in heads:
            continue
        ours = heads.get(head, '') + OUTPUTS[name]
        value = preds[ours]
        flat = torch.cat([level.flatten(2) for level in value], -1) if isinstance(value, list) else value
        key = prefix + (name if head is None else f'{head}.{name}')
        assert_matches(flat, recorded[key], 1e-6, key)
        checked.add(ours)
    # Evaluation mode of the reference leaves the deviations out.
    assert set(preds) - checked <= {'keypoint_deviations'} and checked


def table_of(head: torch.nn.Module, decoded: dict, image: int, found) -> torch.Tensor:
    parts = [found.bboxes[:, :4], found.scores[:, None], found.labels[:, None], found.bboxes[:, 4:]]
    if 'mask_coeffs' in decoded:
        parts.append(decoded['mask_coeffs'][image, found.prior_idx])
    if 'keypoints' in decoded:
        parts.append(decoded['keypoints'][image, found.prior_idx].flatten(1))
    return torch.cat(parts, 1)


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('task, size', MODELS)
def test_outputs_and_detections_equal_the_reference(recorded, task, size):
    name, seed = f'{task}_{size}', int(recorded['seed'])
    model = seeded_model(task, size, seed).eval()
    head = model.head
    with torch.no_grad():
        preds = model(images(seed))
        assert_outputs(preds, recorded, f'{name}.eval.', {'one2one': ''})
        if task == 'cls':
            scores = torch.stack([result.pred_scores for result in head.predict(preds, [{}] * 3)])
            assert_matches(scores, recorded[f'{name}.scores'], 1e-6)
            return
        head.test_cfg['score_thr'] = -1.0
        decoded = head.decode(preds)
        for image, found in enumerate(head._suppress(decoded[head.BBOXES], decoded['scores'])):
            table = table_of(head, decoded, image, found)
            assert len(table) == recorded[f'{name}.detections.{image}.count']
            assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('task, size', MODELS)
def test_losses_and_gradients_equal_the_reference(recorded, task, size):
    name, seed = f'{task}_{size}', int(recorded['seed'])
    model = seeded_model(task, size, seed).train()
    preds = model(images(seed))
    assert_outputs(preds, recorded, f'{name}.train.', {'one2one': '', 'one2many': 'many_'})
    gt = ground_truth(task, recorded)
    for share, head in ((1.0, 'one2many'), (0.0, 'one2one'), (0.8, None)):
        if task == 'cls' and head:
            continue
        model.head.many_weight = share
        losses = {key: value for key, value in model.head.loss(preds, gt).items() if key.startswith('loss')}
        assert list(losses) == [f'loss_{key}' for key in LOSSES[task]]
        expected = recorded[f'{name}.losses.{head}' if head else f'{name}.losses']
        found = [value.item() for value in losses.values()]
        assert found == pytest.approx(expected.tolist(), rel=1e-6), (head, found, expected)
    sum(losses.values()).backward()
    keys = yolo26_keys(task, INNER[size])
    gradients = {keys.to_theirs(key): param.grad for key, param in model.named_parameters()}
    prefix = f'{name}.grad.'
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    rounding = 1e-12 * max(recorded[prefix + key][1] for key in gradients)
    for key, gradient in gradients.items():
        if recorded[prefix + key][1] < rounding:  # of a bias that a later normalisation subtracts, or an unused level
            assert gradient.abs().max() < rounding, key
        else:
            samples = len(recorded[prefix + key]) - 2
            expected = recorded[prefix + key][: 2 + min(samples, gradient.numel())]
            assert_matches(gradient, expected, 1e-6, key)
