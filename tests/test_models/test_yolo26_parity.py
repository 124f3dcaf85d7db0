"""YOLO26 detectors equal ultralytics 8.4.190 in outputs, losses, gradients and detections, and in their numbers of
parameters (tests/parity/record_ultralytics_yolo26.py says how that was recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import build_model
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import IMG_SHAPE, loss_state
from test_loss_parity import gt_batch

from detkit.converters.ultralytics_keys import yolo26_keys

RECORDED = Path(__file__).parents[1] / 'parity' / 'yolo26.npz'
COUNTS = {'n': 2_572_280, 's': 10_009_784, 'm': 21_896_248, 'l': 26_299_704, 'x': 58_993_368}
INNER = {'n': 'bottleneck', 'm': 'c3k'}
LOSSES = ('box', 'cls', 'dfl')
OUTPUTS = {'boxes': 'bbox_preds', 'scores': 'cls_logits'}


@pytest.mark.parametrize('size', COUNTS)
def test_parameter_counts(size):
    model = build_model('yolo26_det', 80, 'meta', size=size)
    assert sum(param.numel() for param in model.parameters()) == COUNTS[size]


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


def seeded_model(size: str, seed: int) -> torch.nn.Module:
    model = build_model('yolo26_det', 80, size=size).double()
    keys = yolo26_keys(INNER[size])
    shapes = {keys.to_theirs(name): tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(keys.convert(loss_state(shapes, seed)))
    return model


def images(seed: int) -> torch.Tensor:
    return seeded_tensor((3, 3, *IMG_SHAPE), 'image', seed)


def assert_outputs(preds: dict, recorded: dict, prefix: str, ours: str) -> None:
    for theirs, name in OUTPUTS.items():
        flat = torch.cat([level.flatten(2) for level in preds[ours + name]], -1)
        assert_matches(flat, recorded[prefix + theirs], 1e-6, prefix + theirs)


@pytest.mark.parametrize('size', INNER)
def test_outputs_and_detections_equal_the_reference(recorded, size):
    name, seed = f'det_{size}', int(recorded['seed'])
    model = seeded_model(size, seed).eval()
    model.head.test_cfg['score_thr'] = -1.0
    with torch.no_grad():
        preds = model(images(seed))
        assert set(preds) == set(OUTPUTS.values())
        assert_outputs(preds, recorded, f'{name}.eval.one2one.', '')
        decoded = model.head.decode(preds)
        found = model.head._suppress(decoded['bboxes'], decoded['scores'])
        for image, result in enumerate(found):
            table = torch.cat([result.bboxes, result.scores[:, None], result.labels[:, None]], 1)
            assert len(table) == recorded[f'{name}.detections.{image}.count']
            assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')


@pytest.mark.parametrize('size', INNER)
def test_losses_and_gradients_equal_the_reference(recorded, size):
    name, seed = f'det_{size}', int(recorded['seed'])
    model = seeded_model(size, seed).train()
    preds = model(images(seed))
    assert_outputs(preds, recorded, f'{name}.train.one2one.', '')
    assert_outputs(preds, recorded, f'{name}.train.one2many.', 'many_')
    gt = gt_batch()
    for share, head in ((1.0, 'one2many'), (0.0, 'one2one'), (0.8, None)):
        model.head.many_weight = share
        losses = model.head.loss(preds, gt)
        assert list(losses) == [f'loss_{key}' for key in LOSSES]
        expected = recorded[f'{name}.losses.{head}' if head else f'{name}.losses']
        found = [value.item() for value in losses.values()]
        assert found == pytest.approx(expected.tolist(), rel=1e-6), head
    sum(losses.values()).backward()
    keys = yolo26_keys(INNER[size])
    gradients = {keys.to_theirs(key): param.grad for key, param in model.named_parameters()}
    prefix = f'{name}.grad.'
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    rounding = 1e-12 * max(recorded[prefix + key][1] for key in gradients)
    for key, gradient in gradients.items():
        if recorded[prefix + key][1] < rounding:  # of a bias that a later normalisation subtracts, or an unused level
            assert gradient.abs().max() < rounding, key
        else:
            assert_matches(gradient, recorded[prefix + key], 1e-6, key)
