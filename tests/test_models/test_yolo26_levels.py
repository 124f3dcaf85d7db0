"""YOLO26 detectors with a fourth level equal ultralytics 8.4.190 in numbers of parameters, outputs, losses, gradients
and detections (tests/parity/record_ultralytics_levels.py says how that was recorded)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import build_model
from parity.levels_shapes import LEVELS, SHAPE
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import loss_state
from test_loss_parity import gt_batch
from test_yolo26_parity import RECORDED, assert_outputs, table_of

from detkit.converters.ultralytics_keys import yolo26_level_keys
from detkit.utils.without_memory import without_initial_values

# The counts are those that ultralytics 8.4.190 states for yolo26-p2 and yolo26-p6 with 80 classes.
COUNTS = {
    ('p2', 'n'): 2_662_400,
    ('p2', 's'): 9_765_856,
    ('p2', 'm'): 21_144_288,
    ('p2', 'l'): 25_815_520,
    ('p2', 'x'): 57_935_232,
    ('p6', 'n'): 4_063_872,
    ('p6', 's'): 15_876_448,
    ('p6', 'm'): 32_400_096,
    ('p6', 'l'): 39_365_600,
    ('p6', 'x'): 88_330_368,
}
STRIDES = {'p2': (4, 8, 16, 32), 'p6': (8, 16, 32, 64)}


@pytest.mark.parametrize(('level', 'size'), COUNTS)
def test_parameter_counts(level, size):
    model = build_model(f'yolo26_det_{level}', 80, 'meta', size=size)
    assert sum(param.numel() for param in model.parameters()) == COUNTS[level, size]


@pytest.mark.parametrize('level', STRIDES)
def test_maps_of_every_level_are_predicted(level):
    model = build_model(f'yolo26_det_{level}', 3, size='n').eval()
    with torch.no_grad():
        preds = model(torch.rand(1, 3, 128, 128))
    assert tuple(model.head.strides) == STRIDES[level]
    assert [tuple(logits.shape[-2:]) for logits in preds['cls_logits']] == [
        (128 // s, 128 // s) for s in STRIDES[level]
    ]


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED.with_name('yolo26_levels.npz')) as arrays:
        found = dict(arrays)
    names = str(found.pop('gradient_names')).split('\n')
    return found | dict(zip(names, found.pop('gradients'), strict=True))


@without_initial_values()
def seeded_model(level: str, seed: int) -> torch.nn.Module:
    keys = yolo26_level_keys(LEVELS[level], 'bottleneck')
    model = build_model(f'yolo26_det_{level}', 80, size='n').double()
    shapes = {keys.to_theirs(name): tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(keys.convert(loss_state(shapes, seed)))
    return model


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('level', LEVELS)
def test_a_fourth_level_equals_the_reference(recorded, level):
    name, seed = f'{level}_n', int(recorded['seed'])
    model = seeded_model(level, seed)
    images = seeded_tensor((3, 3, *SHAPE), 'image', seed)
    head = model.eval().head
    head.test_cfg['score_thr'] = -1.0
    with torch.no_grad():
        preds = model(images)
        assert_outputs(preds, recorded, f'{name}.eval.', {'one2one': ''})
        decoded = head.decode(preds)
        for image, found in enumerate(head._suppress(decoded[head.BBOXES], decoded['scores'])):
            table = table_of(head, decoded, image, found)
            assert len(table) == recorded[f'{name}.detections.{image}.count']
            assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')

    preds = model.train()(images)
    assert_outputs(preds, recorded, f'{name}.train.', {'one2one': '', 'one2many': 'many_'})
    gt = gt_batch()
    gt = replace(gt, bboxes=2 * gt.bboxes, img_shapes=torch.tensor([SHAPE] * 3), masks=None)
    for share, branch in ((1.0, '.one2many'), (0.0, '.one2one'), (0.8, '')):
        head.many_weight = share
        losses = head.loss(preds, gt)
        losses = {key: losses[key] for key in ('loss_box', 'loss_cls', 'loss_dfl')}
        expected = recorded[f'{name}.losses{branch}'].tolist()
        assert [value.item() for value in losses.values()] == pytest.approx(expected, rel=1e-6), branch
    sum(losses.values()).backward()
    keys, prefix = yolo26_level_keys(LEVELS[level], 'bottleneck'), f'{name}.grad.'
    gradients = {keys.to_theirs(key): param.grad for key, param in model.named_parameters()}
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    rounding = 1e-12 * max(recorded[prefix + key][1] for key in gradients)
    for key, gradient in gradients.items():
        expected = recorded[prefix + key]
        if expected[1] < rounding:  # of a bias that a later normalisation subtracts, or an unused level
            assert gradient.abs().max() < rounding, key
        else:
            assert_matches(gradient, expected[: 2 + min(len(expected) - 2, gradient.numel())], 1e-6, key)
