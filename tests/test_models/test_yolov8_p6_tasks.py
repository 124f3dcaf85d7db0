"""YOLOv8 with a level of stride 64 for masks and keypoints equals ultralytics 8.4.190 in numbers of parameters,
outputs, losses, gradients and detections (tests/parity/record_ultralytics_levels.py says how that was recorded)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import build_model
from parity.levels_shapes import LEVELS, SHAPE, TASKS
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import loss_state
from test_loss_parity import RECORDED
from test_loss_parity import gt_batch as mask_batch
from test_pose_parity import gt_batch as pose_batch
from test_yolo11_parity import LOSSES, assert_outputs, table_of

from detkit.config import load_config
from detkit.converters.ultralytics_keys import yolov8_level_keys
from detkit.inference.preparation import Preparation
from detkit.structures.gt_batch import GtBatch
from detkit.utils.without_memory import without_initial_values

# The parameters of yolov8-seg-p6 with 80 classes and of yolov8-pose-p6 with 1 class and 17 keypoints, sizes n to x, in
# ultralytics 8.4.190. The 16 fixed weights of the integral of distributions are not counted.
COUNTS = {
    'seg': (5_302_800, 18_687_264, 46_542_128, 65_024_320, 101_542_608),
    'pose': (5_182_136, 18_563_592, 45_724_696, 63_496_720, 99_182_624),
}
POSE_SEED = 23  # of the keypoints


@pytest.mark.parametrize('task', TASKS)
def test_parameter_counts_and_strides(task):
    for size, count in zip('nsmlx', COUNTS[task], strict=True):
        model = build_model(f'yolov8_{task}_p6', TASKS[task], 'meta', size=size)
        assert sum(param.numel() for param in model.parameters()) == count, size
        assert tuple(model.head.strides) == (8, 16, 32, 64)


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('data', ['coco', 'custom'])
def test_images_are_padded_to_multiples_of_the_coarsest_stride(task, data):
    cfg = load_config(f'yolov8/{task}_p6_{data}', need_classes=False)
    assert Preparation(cfg, 640, classifies=False).size_divisor == 64
    assert cfg.val_dataloader.dataset.size_divisor == cfg.model.data_preprocessor.size_divisor == 64


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED.with_name('yolov8_p6_tasks.npz')) as arrays:
        found = dict(arrays)
    names = str(found.pop('gradient_names')).split('\n')
    return found | dict(zip(names, found.pop('gradients'), strict=True))


@without_initial_values()
def seeded_model(task: str, seed: int) -> torch.nn.Module:
    keys = yolov8_level_keys(LEVELS['p6'], task)
    model = build_model(f'yolov8_{task}_p6', TASKS[task], size='n').double()
    shapes = {keys.to_theirs(name): tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(keys.convert(loss_state(shapes, seed)))
    return model


def ground_truth(task: str) -> GtBatch:
    """That of the other recordings, on images of twice the size."""
    if task == 'pose':
        gt = pose_batch('pose_n', POSE_SEED)
        gt = replace(gt, keypoints=gt.keypoints * torch.tensor([2, 2, 1]))
    else:
        gt = mask_batch()
        gt = replace(gt, masks=gt.masks.repeat_interleave(2, 1).repeat_interleave(2, 2))
    return replace(gt, bboxes=2 * gt.bboxes, img_shapes=torch.tensor([SHAPE] * 3))


@pytest.mark.parametrize('task', TASKS)
def test_outputs_and_detections_equal_the_reference(recorded, task):
    name, seed = f'{task}_n', int(recorded['seed'])
    model = seeded_model(task, seed).eval()
    with torch.no_grad():
        preds = model(seeded_tensor((3, 3, *SHAPE), 'image', seed))
    assert_outputs(preds, recorded, f'{name}.eval.', model.head)
    results = model.head.predict(preds, [dict(matrix=np.eye(3), ori_shape=SHAPE)] * 3)
    for image, result in enumerate(results):
        table = table_of(result.pred_instances)
        assert len(table) == recorded[f'{name}.detections.{image}.count'] > 10
        assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')


@pytest.mark.parametrize('task', TASKS)
def test_losses_and_gradients_equal_the_reference(recorded, task):
    name, seed = f'{task}_n', int(recorded['seed'])
    model = seeded_model(task, seed).train()
    preds = model(seeded_tensor((3, 3, *SHAPE), 'image', seed))
    assert_outputs(preds, recorded, f'{name}.train.', model.head)
    losses = model.head.loss(preds, ground_truth(task))
    losses = {key: value for key, value in losses.items() if key.startswith('loss')}
    assert list(losses) == [f'loss_{key}' for key in LOSSES[task]]
    assert [value.item() for value in losses.values()] == pytest.approx(recorded[f'{name}.losses'].tolist(), rel=1e-6)
    sum(losses.values()).backward()
    keys, prefix = yolov8_level_keys(LEVELS['p6'], task), f'{name}.grad.'
    gradients = {keys.to_theirs(key): param.grad for key, param in model.named_parameters()}
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    for key, gradient in gradients.items():
        expected = recorded[prefix + key]
        assert_matches(gradient, expected[: 2 + min(len(expected) - 2, gradient.numel())], 1e-6, key)
