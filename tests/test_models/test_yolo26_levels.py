"""YOLO26 detectors with a fourth level have exactly the reference's numbers of parameters, and predict."""

import pytest
import torch
from builders import build_model

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
