"""YOLO-World detectors equal ultralytics 8.4.190 in outputs, losses, gradients and detections, and in their numbers of
parameters (tests/parity/record_ultralytics_world.py says how that was recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import build_model
from coverings import slow_unless
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import IMG_SHAPE
from parity.world_shapes import SIZES, VERSIONS, texts, world_state
from test_loss_parity import gt_batch
from test_yolo11_parity import table_of

from detkit.converters.ultralytics_keys import world_keys
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'yolo_world.npz'
DFL_WEIGHTS = 16  # fixed ones, which detkit does without
LOSSES = ('box', 'cls', 'dfl')
OUTPUTS = {'boxes': 'bbox_preds', 'scores': 'cls_logits'}
# A version differs in its parts, a size in their numbers and widths.
MODELS = [
    slow_unless((version, size) in (('v1', 's'), ('v2', 'm')), version, size) for version in VERSIONS for size in SIZES
]


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


def number(version: str) -> int:
    return int(version.removeprefix('v'))


@pytest.mark.parametrize('version', VERSIONS)
def test_parameter_counts(recorded, version):
    for size in 'smlx':
        model = build_model('yolo_world_det', 80, 'meta', size=size, version=number(version))
        count = sum(param.numel() for param in model.parameters())
        assert count == recorded[f'{version}_{size}.parameters'] - DFL_WEIGHTS, size


@without_initial_values()
def seeded_model(version: str, size: str, seed: int) -> torch.nn.Module:
    model = build_model('yolo_world_det', 80, size=size, version=number(version)).double()
    keys = world_keys(number(version))
    shapes = {keys.to_theirs(key): tuple(value.shape) for key, value in model.state_dict().items() if key != 'texts'}
    model.load_state_dict({**keys.convert(world_state(shapes, seed)), 'texts': texts(seed)})
    return model


def images(seed: int) -> torch.Tensor:
    return seeded_tensor((3, 3, *IMG_SHAPE), 'image', seed)


def assert_outputs(preds: dict, recorded: dict, prefix: str) -> None:
    for theirs, name in OUTPUTS.items():
        flat = torch.cat([level.flatten(2) for level in preds[name]], -1)
        assert_matches(flat, recorded[prefix + theirs], 1e-6, prefix + theirs)


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('folded', [False, True], ids=['texts', 'folded'])
@pytest.mark.parametrize('version, size', MODELS)
def test_outputs_and_detections_equal_the_reference(recorded, version, size, folded):
    name, seed = f'{version}_{size}', int(recorded['seed'])
    model = seeded_model(version, size, seed).eval()
    model = model.reparameterized() if folded else model
    with torch.no_grad():
        preds = model(images(seed))
        assert_outputs(preds, recorded, f'{name}.eval.')
        results = model.head.predict(preds, [dict(matrix=np.eye(3), ori_shape=IMG_SHAPE)] * 3)
    for image, result in enumerate(results):
        table = table_of(result.pred_instances)
        assert len(table) == recorded[f'{name}.detections.{image}.count'] > 10
        assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')


@pytest.mark.parametrize('version, size', MODELS)
def test_losses_and_gradients_equal_the_reference(recorded, version, size):
    name, seed = f'{version}_{size}', int(recorded['seed'])
    model = seeded_model(version, size, seed).train()
    preds = model(images(seed))
    assert_outputs(preds, recorded, f'{name}.train.')
    losses = model.head.loss(preds, gt_batch())
    assert list(losses) == [f'loss_{key}' for key in LOSSES]
    assert [value.item() for value in losses.values()] == pytest.approx(recorded[f'{name}.losses'].tolist(), rel=1e-6)
    sum(losses.values()).backward()
    keys = world_keys(number(version))
    gradients = {keys.to_theirs(key): param.grad for key, param in model.named_parameters()}
    prefix = f'{name}.grad.'
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    rounding = 1e-12 * max(recorded[prefix + key][1] for key in gradients)
    for key, gradient in gradients.items():
        if recorded[prefix + key][1] < rounding:  # of a bias that a later normalisation subtracts
            assert gradient.abs().max() < rounding, key
        else:
            assert_matches(gradient, recorded[prefix + key], 1e-6, key)
