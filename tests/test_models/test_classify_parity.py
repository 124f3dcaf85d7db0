"""YOLOv8's classifiers equal those of ultralytics 8.4.190 (tests/parity says how they were recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity.seeded import assert_matches, seeded_state, seeded_tensor
from yolov8_models import SIZES, build_yolov8

from detkit.converters.ultralytics_keys import YOLOV8_KEYS
from detkit.structures.gt_batch import GtBatch
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'classify_yolov8.npz'
COUNTS = {'n': 2_719_288, 's': 6_361_736, 'm': 17_053_336, 'l': 37_480_744, 'x': 57_422_840}


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@without_initial_values()
def seeded_model(size: str, seed: int) -> torch.nn.Module:
    model = build_yolov8('cls', size, 1000).double()
    shapes = {YOLOV8_KEYS['cls'].to_theirs(name): tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(YOLOV8_KEYS['cls'].convert(seeded_state(shapes, seed)))
    return model


def gt_batch(labels: list[int]) -> GtBatch:
    count = len(labels)
    return GtBatch(
        labels=torch.zeros(count, 0, dtype=torch.int64),
        bboxes=torch.zeros(count, 0, 4),
        valid=torch.zeros(count, 0, dtype=torch.bool),
        flat_index=torch.zeros(0, dtype=torch.int64),
        img_shapes=torch.tensor([[64, 96]] * count),
        class_labels=torch.tensor(labels),
    )


@pytest.mark.parametrize('size', SIZES)
def test_parameter_counts(size):
    model = build_yolov8('cls', size, 1000, device='meta')
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == COUNTS[size]
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize('size', ['n', 'm'])
def test_outputs_loss_and_gradients_equal_the_reference(recorded, size):
    name, seed = f'cls_{size}', int(recorded['seed'])
    model = seeded_model(size, seed)
    image = seeded_tensor(tuple(recorded['shape']), 'image', seed)
    model.eval()
    with torch.no_grad():
        preds = model(image)
        assert_matches(preds['cls_logits'], recorded[f'{name}.eval.logits'], 1e-6)
        results = model.head.predict(preds, [{}] * len(image))
    assert_matches(torch.stack([r.pred_scores for r in results]), recorded[f'{name}.eval.scores'], 1e-6)

    model.train()
    preds = model(image)
    assert_matches(preds['cls_logits'], recorded[f'{name}.train.logits'], 1e-6)
    losses = model.head.loss(preds, gt_batch(recorded['labels'].tolist()))
    assert list(losses) == ['loss_cls', 'top1']
    assert losses['loss_cls'].item() == pytest.approx(recorded[f'{name}.loss'].item(), rel=1e-6)
    losses['loss_cls'].backward()
    gradients = {YOLOV8_KEYS['cls'].to_theirs(key): parameter.grad for key, parameter in model.named_parameters()}
    prefix = f'{name}.grad.'
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    for key, gradient in gradients.items():
        assert_matches(gradient, recorded[prefix + key], 1e-6, key)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_outputs_in_float32_are_near(recorded, layout):
    seed = int(recorded['seed'])
    model = seeded_model('n', seed).float().to(memory_format=layout).eval()
    image = seeded_tensor(tuple(recorded['shape']), 'image', seed).float().to(memory_format=layout)
    with torch.no_grad():
        assert_matches(model(image)['cls_logits'], recorded['cls_n.eval.logits'], 1e-4)
