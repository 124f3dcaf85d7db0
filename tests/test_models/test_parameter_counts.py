"""The ten YOLOv8 models have exactly the reference's numbers of trainable parameters, and its stated sizes."""

import pytest
from yolov8_models import SIZES, build_yolov8

COUNTS = {
    ('det', 'n'): 3_157_184,
    ('det', 's'): 11_166_544,
    ('det', 'm'): 25_902_624,
    ('det', 'l'): 43_691_504,
    ('det', 'x'): 68_229_632,
    ('seg', 'n'): 3_409_952,
    ('seg', 's'): 11_821_040,
    ('seg', 'm'): 27_285_952,
    ('seg', 'l'): 45_997_712,
    ('seg', 'x'): 71_827_872,
}


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('task', ['det', 'seg'])
def test_parameter_counts(task, size):
    model = build_yolov8(task, size, device='meta')  # no memory, no initial values: only shapes count
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == COUNTS[task, size]
    assert all(p.requires_grad for p in model.parameters())


def test_other_class_counts_change_the_class_branches_only():
    few, many = (build_yolov8('seg', num_classes=n, device='meta').state_dict() for n in (3, 80))
    differing = {name for name in many if few[name].shape != many[name].shape}
    assert differing
    assert all(name.startswith('head.cls_branches.') for name in differing)
