"""The network's outputs equal those of ultralytics 8.4.190 for the same weights (tests/parity says how recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from coverings import every_pair, slow_unless
from parity.seeded import assert_matches, seeded_state, seeded_tensor
from yolov8_models import build_yolov8

from detkit.converters.ultralytics_keys import YOLOV8_KEYS
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'forward_yolov8.npz'
LAYOUTS = (torch.contiguous_format, torch.channels_last)


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@without_initial_values()
def seeded_model(task: str, size: str, seed: int) -> torch.nn.Module:
    model = build_yolov8(task, size).double()
    shapes = {YOLOV8_KEYS['seg'].to_theirs(name): tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(YOLOV8_KEYS['seg'].convert(seeded_state(shapes, seed)))
    return model


def outputs(model: torch.nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """detkit's tensors in the form that was recorded, the levels' positions one after another."""
    with torch.no_grad():
        feats = model.extract_feat(image)
        preds = model.head(feats)
    tensors = {f'feats.{i}': feat for i, feat in enumerate(feats)}
    levels = {'boxes': 'bbox_preds', 'scores': 'cls_logits', 'coefficients': 'mask_coeffs'}
    for theirs, ours in levels.items():
        if ours in preds:
            tensors[theirs] = torch.cat([level.flatten(2) for level in preds[ours]], dim=-1)
    if 'mask_protos' in preds:
        tensors['protos'] = preds['mask_protos']
    return tensors


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(
    ('task', 'size', 'layout'),
    [
        *every_pair(['det', 'seg'], ['n', 'm'], LAYOUTS),
        *(slow_unless(False, task, 's', layout) for task in ('det', 'seg') for layout in LAYOUTS),
    ],
)
def test_outputs_equal_the_reference(recorded, task, size, layout):
    seed = int(recorded['seed'])
    model = seeded_model(task, size, seed).to(memory_format=layout)
    image = seeded_tensor(tuple(recorded['shape']), 'image', seed).to(memory_format=layout)
    for mode in ('eval', 'train'):
        model.train(mode == 'train')
        tensors = outputs(model, image)
        prefix = f'{task}_{size}.{mode}.'
        expected = {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)} - {'decoded'}
        assert set(tensors) == expected
        for name, tensor in tensors.items():
            assert_matches(tensor, recorded[prefix + name], 1e-6, prefix + name)


@pytest.mark.parametrize('task', ['det', 'seg'])
def test_decoded_predictions_equal_the_reference(recorded, task):
    """Points, distance coder and scores, put together as the reference's exported output."""
    model = seeded_model(task, 'n', int(recorded['seed'])).eval()
    image = seeded_tensor(tuple(recorded['shape']), 'image', int(recorded['seed']))
    tensors = outputs(model, image)
    sizes = [tuple(tensors[f'feats.{i}'].shape[-2:]) for i in range(3)]
    points, strides = model.head.prior_generator(sizes, dtype=torch.float64)
    distances = model.head.bbox_coder.mean_distances(tensors['boxes'].transpose(1, 2))
    x0, y0, x1, y1 = model.head.bbox_coder.decode(points, distances, strides).unbind(-1)  # (B, P) each
    decoded = [torch.stack(((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0), dim=1), tensors['scores'].sigmoid()]
    if task == 'seg':
        decoded.append(tensors['coefficients'])
    assert_matches(torch.cat(decoded, dim=1), recorded[f'{task}_n.eval.decoded'], 1e-6)


@pytest.mark.parametrize('mode', ['eval', 'train'])
def test_outputs_in_float32_are_near(recorded, mode):
    seed = int(recorded['seed'])
    model = seeded_model('seg', 'n', seed).float().train(mode == 'train')
    image = seeded_tensor(tuple(recorded['shape']), 'image', seed).float()
    for name, tensor in outputs(model, image).items():
        assert_matches(tensor, recorded[f'seg_n.{mode}.{name}'], 1e-4, f'seg_n.{mode}.{name}')
