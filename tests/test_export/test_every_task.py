"""Every family and task as ONNX and OpenVINO: what PyTorch finds is found, in every batch and size."""

from __future__ import annotations

import pytest
from every_task import TASKS, build_task
from small_models import write_images

from detkit.export import ExportSettings, export_detector
from detkit.export.format import find_format

SHAPES = {
    'batch 1': dict(batch_size=1, dynamic=False),
    'batch 4': dict(batch_size=4, dynamic=False),
    'dynamic': dict(batch_size=4, dynamic=True),
}
# Their parts are those of other tasks: masks and rotated boxes come with all of detection; YOLO11's heads are YOLOv8's.
SLOW = (
    *('yolov8 det', 'yolo11 det', 'yolo26 det', 'yolo26 cls', 'rtdetr det', 'rfdetr det'),
    *('detr panoptic', 'rtdetr obb', 'dfine seg', 'dfine obb', 'rfdetr obb', 'deim det', 'deimv2 det'),
    *('yolo11 seg', 'yolo11 pose', 'yolo11 obb', 'yolo11 cls'),
)


def export(name: str, fmt: str, shape: str, img_size: int, images: list[str], folder) -> None:
    for package in {**find_format(fmt).packages, **find_format(fmt).converters}:
        pytest.importorskip(package)
    model = build_task(name, img_size)
    settings = dict(SHAPES[shape], img_size=img_size)
    if model.classifies and settings['dynamic']:
        settings['dynamic'] = 'batch'
    path = folder / f'model{find_format(fmt).suffix}'
    lines = []
    done = export_detector(model, path, ExportSettings(fmt, **settings), images, log=lines.append)
    print(f'\n{name}, {fmt}, {shape}: {lines[0]}')
    found = done.differences
    assert found.images == len(images)
    assert found.matched > len(images) or model.classifies
    assert {size[0] for size in found.batches} == ({1, 4} if shape == 'dynamic' else {settings['batch_size']})
    assert found.unmatched <= 0.01 * found.matched


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else [])
        for name in sorted(TASKS.keys() - {'yolov3 det', 'detr seg'})  # which are large
    ],
)
def test_a_small_input_of_every_task(name, tmp_path):
    images = [str(path) for path in write_images(tmp_path / 'images', 2)]
    export(name, 'onnx', 'dynamic', 64, images, tmp_path)


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    ('name', 'fmt'),
    [
        ('yolov8 seg', 'onnx'),
        pytest.param('detr det', 'openvino', marks=pytest.mark.slow),
        ('yolov8 det', 'torchscript'),
    ],
)
def test_half_precision_of_a_small_input(name, fmt, tmp_path):
    images = [str(path) for path in write_images(tmp_path / 'images', 2)]
    for package in {**find_format(fmt).packages, **find_format(fmt).converters}:
        pytest.importorskip(package)
    path = tmp_path / f'model{find_format(fmt).suffix}'
    shallow = name.startswith('yolov8')
    whole = export_detector(
        build_task(name, 64, shallow), path, ExportSettings(fmt, img_size=64, dynamic=False), images
    )
    size = sum(file.stat().st_size for file in find_format(fmt).files(path))
    half = export_detector(
        build_task(name, 64, shallow), path, ExportSettings(fmt, img_size=64, dynamic=False, half=True), images
    )
    assert half.description.half and not whole.description.half
    assert whole.differences.scores < half.differences.scores < 0.03
    assert sum(file.stat().st_size for file in find_format(fmt).files(path)) < 0.6 * size


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize('fmt', ['executorch', 'litert'])
def test_padded_pictures_of_detr_on_small_devices(fmt, real_data, tmp_path):
    images = sorted(str(path) for path in (real_data / 'coco8-seg').rglob('*.jpg'))[:6]
    export('detr det', fmt, 'batch 1', 128, images, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    ['retinanet det', 'fcos det', 'rtdetr obb', 'dfine det', 'dfine obb', 'deimv2 det', 'rfdetr det', 'rfdetr seg'],
)
def test_other_families_in_executorch(name, tmp_path):
    images = [str(path) for path in write_images(tmp_path / 'images', 2)]
    export(name, 'executorch', 'batch 1', 96, images, tmp_path)


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize('name', [name for name in TASKS if not name.startswith(('yolov8', 'yolov5', 'yolov3'))])
def test_real_pictures_of_every_task_in_litert(name, real_data, tmp_path):
    folder = 'dota8' if name.startswith('yolo') and name.endswith('obb') else 'coco8-seg'
    images = sorted(str(path) for path in (real_data / folder).rglob('*.jpg'))[:4]
    export(name, 'litert', 'batch 1', 224 if name.endswith('cls') else 160, images, tmp_path)


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize('name', [name for name in TASKS if name.startswith('yolo')])
def test_real_pictures_of_every_task_that_ncnn_holds(name, real_data, tmp_path):
    folder = 'dota8' if name.endswith('obb') else 'coco8-seg'
    images = sorted(str(path) for path in (real_data / folder).rglob('*.jpg'))[:6]
    export(name, 'ncnn', 'batch 1', 224 if name.endswith('cls') else 320, images, tmp_path)


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('fmt', ['onnx', 'openvino'])
@pytest.mark.parametrize('name', TASKS)
def test_real_pictures_of_every_task(name, fmt, shape, real_data, tmp_path):
    # Cells in the black borders of aerial pictures are alike, and which of them are queries is left to the runtime.
    folder = 'dota8' if name.startswith('yolo') and name.endswith('obb') else 'coco8-seg'
    images = sorted(str(path) for path in (real_data / folder).rglob('*.jpg'))[:6]
    export(name, fmt, shape, 224 if name.endswith('cls') else 320, images, tmp_path)
