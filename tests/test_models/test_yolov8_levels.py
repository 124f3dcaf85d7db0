"""YOLOv8 detectors with a fourth level equal ultralytics 8.4.190 in numbers of parameters, outputs, losses, gradients
and detections (tests/parity/record_ultralytics_levels.py says how that was recorded)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import build_model
from parity.levels_shapes import LEVELS, SHAPE
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import loss_state
from test_loss_parity import RECORDED, gt_batch
from test_yolo11_parity import assert_outputs, table_of

from detkit.config import load_config
from detkit.converters.ultralytics_keys import yolov8_level_keys
from detkit.inference.preparation import Preparation
from detkit.utils.without_memory import without_initial_values

# The counts are those of yolov8-p2 and yolov8-p6 of ultralytics 8.4.190 with 80 classes, without the 16 fixed weights
# of the integral of distributions.
COUNTS = {
    'p2': (3_354_128, 10_884_320, 25_082_480, 42_888_064, 66_637_520),
    'p6': (4_984_336, 17_911_776, 44_887_472, 62_384_000, 97_423_056),
}
STRIDES = {'p2': (4, 8, 16, 32), 'p6': (8, 16, 32, 64)}


@pytest.mark.parametrize('level', LEVELS)
def test_parameter_counts_and_strides(level):
    for size, count in zip('nsmlx', COUNTS[level], strict=True):
        model = build_model(f'yolov8_det_{level}', 80, 'meta', size=size)
        assert sum(param.numel() for param in model.parameters()) == count, size
        assert tuple(model.head.strides) == STRIDES[level]


@pytest.mark.parametrize(
    ('config', 'divisor'), [('yolov8/det_p2_coco', 32), ('yolov8/det_p6_coco', 64), ('yolo26/det_p6_custom', 64)]
)
def test_images_are_padded_to_multiples_of_the_coarsest_stride(config, divisor):
    cfg = load_config(config, need_classes=False)
    preparation = Preparation(cfg, 640, classifies=False)
    sample = preparation(np.zeros((100, 300, 3), np.uint8), 'x.png', 0)
    assert sample['inputs'].shape[-2:] == ({32: 224, 64: 256}[divisor], 640)
    assert preparation.size_divisor == cfg.val_dataloader.dataset.size_divisor == divisor
    assert cfg.model.data_preprocessor.get('size_divisor', 32) == divisor


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED.with_name('yolov8_levels.npz')) as arrays:
        found = dict(arrays)
    names = str(found.pop('gradient_names')).split('\n')
    return found | dict(zip(names, found.pop('gradients'), strict=True))


@without_initial_values()
def seeded_model(level: str, seed: int) -> torch.nn.Module:
    keys = yolov8_level_keys(LEVELS[level])
    model = build_model(f'yolov8_det_{level}', 80, size='n').double()
    shapes = {keys.to_theirs(name): tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(keys.convert(loss_state(shapes, seed)))
    return model


@pytest.mark.parametrize('level', LEVELS)
def test_outputs_and_detections_equal_the_reference(recorded, level):
    name, seed = f'{level}_n', int(recorded['seed'])
    model = seeded_model(level, seed).eval()
    with torch.no_grad():
        preds = model(seeded_tensor((3, 3, *SHAPE), 'image', seed))
    assert_outputs(preds, recorded, f'{name}.eval.', model.head)
    results = model.head.predict(preds, [dict(matrix=np.eye(3), ori_shape=SHAPE)] * 3)
    for image, result in enumerate(results):
        table = table_of(result.pred_instances)
        assert len(table) == recorded[f'{name}.detections.{image}.count'] > 10
        assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')


@pytest.mark.parametrize('level', LEVELS)
def test_losses_and_gradients_equal_the_reference(recorded, level):
    name, seed = f'{level}_n', int(recorded['seed'])
    model = seeded_model(level, seed).train()
    preds = model(seeded_tensor((3, 3, *SHAPE), 'image', seed))
    assert_outputs(preds, recorded, f'{name}.train.', model.head)
    gt = gt_batch()
    gt = replace(gt, bboxes=2 * gt.bboxes, img_shapes=torch.tensor([SHAPE] * 3), masks=None)
    losses = model.head.loss(preds, gt)
    assert list(losses) == ['loss_box', 'loss_cls', 'loss_dfl']
    found = [value.item() for value in losses.values()]
    assert found == pytest.approx(recorded[f'{name}.losses'].tolist(), rel=1e-6)
    sum(losses.values()).backward()
    keys, prefix = yolov8_level_keys(LEVELS[level]), f'{name}.grad.'
    gradients = {keys.to_theirs(key): param.grad for key, param in model.named_parameters()}
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    for key, gradient in gradients.items():
        expected = recorded[prefix + key]
        assert_matches(gradient, expected[: 2 + min(len(expected) - 2, gradient.numel())], 1e-6, key)
