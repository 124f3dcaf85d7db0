"""The decoders of real-time transformers in all tasks, as files for images of any size."""

import every_task
import pytest
from small_models import write_images
from test_every_task import export

ROTATED = dict(
    assigner=dict(type='RotatedHungarianAssigner'),
    bbox_coder=dict(type='RelativeRBBoxCoder'),
    loss_iou=dict(type='ProbIoULoss'),
)
TASKS = {
    'rtdetr det': ('rtdetr_tiny', {'num_queries': 20}, 'det'),
    'rtdetr seg': ('rtdetr_tiny', {'num_queries': 20, 'type': 'RTDETRSegmentHead'}, 'seg'),
    'rtdetr obb': ('rtdetr_obb_tiny', {'num_queries': 20}, 'obb'),
    'dfine det': ('dfine', {'num_queries': 20}, 'det'),
    'dfine seg': ('dfine_seg', {'num_queries': 20}, 'seg'),
    'rfdetr obb': ('rfdetr_tiny', {'num_queries': 20, 'type': 'RFDETROBBHead', **ROTATED}, 'obb'),
}
EXPORTS = [(name, 'onnx') for name in TASKS] + [(name, 'openvino') for name in (*TASKS, 'rfdetr det', 'rfdetr seg')]


@pytest.mark.parametrize(
    ('name', 'fmt'),
    [
        pytest.param(*export, marks=pytest.mark.slow if export[0].startswith('d') or 'obb' in export[0] else [])
        for export in EXPORTS
    ],
)
def test_a_file_finds_what_pytorch_does(name, fmt, tmp_path, monkeypatch):
    monkeypatch.setattr(every_task, 'TASKS', every_task.TASKS | TASKS)
    images = [str(path) for path in write_images(tmp_path / 'images', 2)]
    export(name, fmt, 'dynamic', 64, images, tmp_path)
