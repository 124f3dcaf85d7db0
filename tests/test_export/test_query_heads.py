"""The decoders of real-time transformers as files for images of any size: in OpenVINO, and with other parts."""

import every_task
import pytest
from small_models import write_images
from test_every_task import export

# Networks that no task of ``every_task`` has: attention to single cells, DEIM on RT-DETRv2, DEIMv2 without gates.
PARTS = {
    'rtdetr discrete': ('rtdetr_tiny', {'num_queries': 20, 'decoder.discrete': True}, 'det'),
    'deim on rtdetr': ('deim_rtdetr r18', {'num_queries': 20}, 'det'),
    'deimv2 pico': ('deimv2 pico', {'num_queries': 20}, 'det'),
}
FAMILIES = ('rtdetr', 'dfine', 'deim', 'deimv2', 'rfdetr')
OPENVINO = [name for name in every_task.TASKS if name.split()[0] in FAMILIES]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'fmt'),
    [*[(name, 'openvino') for name in OPENVINO], *[(name, fmt) for name in PARTS for fmt in ('onnx', 'openvino')]],
)
def test_a_file_finds_what_pytorch_does(name, fmt, tmp_path, monkeypatch):
    monkeypatch.setattr(every_task, 'TASKS', every_task.TASKS | PARTS)
    images = [str(path) for path in write_images(tmp_path / 'images', 2)]
    export(name, fmt, 'dynamic', 64, images, tmp_path)
