"""YOLO11 equals ultralytics 8.4.190 in outputs, losses, gradients and detections, and in its number of parameters
(tests/parity/record_ultralytics_yolo11.py says how that was recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import build_model
from coverings import each_of_both, slow_unless
from parity.rotated_shapes import rotated_state
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import IMG_SHAPE, loss_state
from test_classify_parity import gt_batch as class_batch
from test_loss_parity import gt_batch as bbox_batch
from test_obb_parity import gt_batch as rbbox_batch
from test_pose_parity import gt_batch as pose_batch

from detkit.converters.ultralytics_keys import yolo11_keys
from detkit.structures.gt_batch import GtBatch
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'yolo11.npz'
# Without the 16 fixed weights of the published figures' integral of distributions.
COUNTS = {
    ('det', 80): (2_624_064, 9_458_736, 20_114_672, 25_372_144, 56_966_160),
    ('seg', 80): (2_876_832, 10_113_232, 22_420_880, 27_678_352, 62_142_640),
    ('pose', 80): (2_908_491, 9_948_795, 20_973_257, 26_230_729, 58_889_865),
    ('pose', 1): (2_874_446, 9_918_222, 20_912_348, 26_169_820, 58_798_620),
    ('obb', 80): (2_695_731, 9_744_915, 20_963_507, 26_220_979, 58_875_315),
    ('obb', 15): (2_664_416, 9_719_760, 20_913_392, 26_170_864, 58_800_240),
    ('cls', 80): (1_633_584, 5_545_488, 10_455_696, 12_937_104, 28_458_544),
    ('cls', 1000): (2_812_104, 6_724_008, 11_634_216, 14_115_624, 29_637_064),
}
NUM_CLASSES = {'det': 80, 'seg': 80, 'pose': 1, 'obb': 80, 'cls': 1000}
INNER = {'n': 'bottleneck', 'm': 'c3k'}
LOSSES = {
    'det': ('box', 'cls', 'dfl'),
    'seg': ('box', 'seg', 'cls', 'dfl'),
    'pose': ('box', 'pose', 'kobj', 'cls', 'dfl'),
    'obb': ('box', 'cls', 'dfl', 'angle'),
    'cls': ('cls',),
}
OUTPUTS = {
    'boxes': 'bbox_preds',
    'scores': 'cls_logits',
    'coefficients': 'mask_coeffs',
    'protos': 'mask_protos',
    'keypoints': 'keypoint_preds',
    'angle': 'angle_logits',
    'logits': 'cls_logits',
}
MODELS = [slow_unless(size == 'n' or task == 'det', task, size) for task in NUM_CLASSES for size in INNER]


@pytest.mark.parametrize(('kind', 'size'), each_of_both(COUNTS, 'nsmlx'))
def test_parameter_counts(kind, size):
    task, num_classes = kind
    model = build_model(f'yolo11_{task}', num_classes, 'meta', size=size)
    assert sum(param.numel() for param in model.parameters()) == COUNTS[kind]['nsmlx'.index(size)]


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@without_initial_values()
def seeded_model(task: str, size: str, seed: int) -> torch.nn.Module:
    model = build_model(f'yolo11_{task}', NUM_CLASSES[task], size=size).double()
    keys = yolo11_keys(task, INNER[size])
    shapes = {keys.to_theirs(name): tuple(value.shape) for name, value in model.state_dict().items()}
    state = rotated_state(shapes, size, seed) if task == 'obb' else loss_state(shapes, seed)
    model.load_state_dict(keys.convert(state))
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


def assert_outputs(preds: dict, recorded: dict, prefix: str, head: torch.nn.Module) -> None:
    names = [key.removeprefix(prefix) for key in recorded if key.startswith(prefix)]
    assert names
    for name in names:
        value = preds[OUTPUTS[name]]
        flat = torch.cat([level.flatten(2) for level in value], -1) if isinstance(value, list) else value
        if name == 'angle':
            flat = head.bbox_coder.angles(flat)
        assert_matches(flat, recorded[prefix + name], 1e-6, prefix + name)


def table_of(found) -> torch.Tensor:
    parts = [found.bboxes, found.scores[:, None], found.labels[:, None]]
    if 'keypoints' in found:
        parts.append(torch.cat([found.keypoints, found.keypoint_scores.unsqueeze(-1)], -1).flatten(1))
    return torch.cat(parts, 1)


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('task, size', MODELS)
def test_outputs_and_detections_equal_the_reference(recorded, task, size):
    name, seed = f'{task}_{size}', int(recorded['seed'])
    model = seeded_model(task, size, seed).eval()
    with torch.no_grad():
        preds = model(images(seed))
        assert_outputs(preds, recorded, f'{name}.eval.', model.head)
        if task == 'cls':
            scores = torch.stack([result.pred_scores for result in model.head.predict(preds, [{}] * 3)])
            assert_matches(scores, recorded[f'{name}.scores'], 1e-6)
            return
        if task == 'obb':
            decoded = model.head.decode(preds)
            found = model.head._suppress(decoded['rbboxes'], decoded['scores'])
            tables = [
                torch.cat([f.bboxes[:, :4], f.scores[:, None], f.labels[:, None], f.bboxes[:, 4:]], 1) for f in found
            ]
        else:
            results = model.head.predict(preds, [dict(matrix=np.eye(3), ori_shape=IMG_SHAPE)] * 3)
            tables = [table_of(result.pred_instances) for result in results]
    for image, table in enumerate(tables):
        assert len(table) == recorded[f'{name}.detections.{image}.count'] > 10
        assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('task, size', MODELS)
def test_losses_and_gradients_equal_the_reference(recorded, task, size):
    name, seed = f'{task}_{size}', int(recorded['seed'])
    model = seeded_model(task, size, seed).train()
    preds = model(images(seed))
    assert_outputs(preds, recorded, f'{name}.train.', model.head)
    losses = model.head.loss(preds, ground_truth(task, recorded))
    losses = {key: value for key, value in losses.items() if key.startswith('loss')}
    assert list(losses) == [f'loss_{key}' for key in LOSSES[task]]
    for value, expected in zip(losses.values(), recorded[f'{name}.losses'], strict=True):
        assert value.item() == pytest.approx(expected, rel=1e-6)
    sum(losses.values()).backward()
    keys = yolo11_keys(task, INNER[size])
    gradients = {keys.to_theirs(key): param.grad for key, param in model.named_parameters()}
    prefix = f'{name}.grad.'
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    rounding = 1e-12 * max(recorded[prefix + key][1] for key in gradients)
    for key, gradient in gradients.items():
        if recorded[prefix + key][1] < rounding:  # of a bias that a later normalisation subtracts, or an unused level
            assert gradient.abs().max() < rounding, key
        else:
            assert_matches(gradient, recorded[prefix + key], 1e-6, key)
