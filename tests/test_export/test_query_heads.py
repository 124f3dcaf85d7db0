"""Masks and rotated boxes on the decoders of real-time transformers, as ONNX files for images of one size."""

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
    'rtdetr seg': ('rtdetr_tiny', {'num_queries': 20, 'type': 'RTDETRSegmentHead'}, 'seg'),
    'rtdetr obb': ('rtdetr_obb_tiny', {'num_queries': 20}, 'obb'),
    'dfine seg': ('dfine_seg', {'num_queries': 20}, 'seg'),
    'rfdetr obb': ('rfdetr_tiny', {'num_queries': 20, 'type': 'RFDETROBBHead', **ROTATED}, 'obb'),
}


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=pytest.mark.slow if name.startswith('d') else []) for name in TASKS]
)
def test_an_onnx_file_finds_what_pytorch_does(name, tmp_path, monkeypatch):
    monkeypatch.setitem(every_task.TASKS, name, TASKS[name])
    images = [str(path) for path in write_images(tmp_path / 'images', 2)]
    export(name, 'onnx', 'batch 1', 64, images, tmp_path)
