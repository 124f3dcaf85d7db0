"""What cannot be exported is refused with a sentence before any work begins."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from every_task import build_plainly, build_task
from small_models import write_images, write_shallow_checkpoint
from torch import nn

from detkit import Detector
from detkit.export import ExportSettings, export_detector
from detkit.export.format import all_formats
from detkit.inference import SourceImage
from detkit.utils.errors import ConfigError, DataError, MissingPackageError

MODELS: dict[str, nn.Module] = {}


def model(name: str) -> nn.Module:
    """Return a model, which no test changes."""
    if name not in MODELS:
        MODELS[name] = build_plainly(name, 64)
    return MODELS[name]


@pytest.fixture(autouse=True)
def no_work(monkeypatch):
    """Let every format be there, and refuse to convert."""

    def convert(self, *args):
        raise AssertionError('it is converted')

    for fmt in all_formats():
        monkeypatch.setattr(type(fmt), 'convert', convert)
        monkeypatch.setattr(type(fmt), 'packages', {})
        monkeypatch.setattr(type(fmt), 'converters', {})


@pytest.mark.parametrize(
    ('name', 'settings', 'message'),
    [
        ('yolov8 det', dict(format='onx'), "there is no format 'onx'; there are .*onnx"),
        ('yolov8 det', dict(format=None), 'there is no format None'),
        ('yolov8 cls', dict(dynamic=True), "a classifier's images have one size.*use dynamic batch"),
        ('yolov8 cls', dict(nms=True), 'a classifier has nothing to suppress: leave out nms'),
        ('detr det', dict(half=True), 'DETRHead computes in float32 only: leave out half, or export to openvino'),
        ('detr panoptic', dict(nms=True), 'panoptic segments are merged .*: leave out nms'),
        ('yolov8 det', dict(format='torchscript', nms=True), 'torchscript files hold a plain head only.*onnx'),
        ('yolov8 det', dict(format='torch_export', nms=True), 'torch_export files hold a plain head only'),
        ('yolov8 det', dict(score_thr=0.5), 'score_thr is that of a suppression in the graph, which only nms asks for'),
        ('yolov8 det', dict(class_agnostic=True), 'class_agnostic is that of a suppression in the graph'),
        ('yolov8 det', dict(img_size=100), 'img_size is 100, but the network takes multiples of 32: 128 128'),
        ('yolov8 det', dict(img_size=(64, 65)), 'multiples of 32: 64 96'),
        *(
            (name, dict(img_size=100, dynamic=False), 'img_size is 100, but the network takes multiples of 32: 128 128')
            for name in ('retinanet det', 'fcos det', 'detr det', 'yolov10 det', 'rtdetr det')
        ),
        ('yolov8 det', dict(img_size=16), 'must be a side or .h, w. from 32 to 8192'),
        ('yolov8 det', dict(img_size=(64, 64, 64)), 'must be a side or .h, w.'),
        ('yolov8 det', dict(img_size='64'), 'must be a side or .h, w.'),
        ('yolov8 det', dict(img_size=64.0), 'must be a side or .h, w.'),
        ('yolov8 det', dict(img_size=True), 'must be a side or .h, w.'),
        ('yolov8 det', dict(img_size=8192, batch_size=5), 'are more than 268,435,456 pixels: export a smaller'),
        (
            'yolov8 det',
            dict(format='aotinductor', dynamic=True),
            'aotinductor files take one batch only, which is fixed',
        ),
        ('yolov8 det', dict(format='litert', dynamic='size'), 'litert files take one size only, which is fixed'),
        ('yolov8 cls', dict(format='executorch', half=True), 'executorch files are written in float32 only'),
        ('yolov8 cls', dict(format='coreml', input_type='uint8'), 'coreml files take images as float32'),
        ('detr det', dict(format='ncnn'), 'ncnn cannot hold DETRHead: export to .*onnx'),
        ('yolov8 det', dict(format='ncnn', batch_size=2), 'ncnn files take one image at a time'),
        ('yolov8 det', dict(format='ncnn', dynamic='size'), 'ncnn files take one size only.*onnx'),
        ('yolov8 det', dict(format='ncnn', input_type='uint8'), 'ncnn files take images as float32'),
        ('yolov8 det', dict(text_embeddings='a.npz'), 'text_embeddings is .* of classes, which are missing'),
        ('yolov8 det', dict(opset=9), 'opset is 9, but must be from 16 to 20'),
        ('yolov8 det', dict(format='openvino', opset=99), 'opset is 99, but must be from 16 to 20'),
    ],
)
def test_a_combination_that_cannot_work(name, settings, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        export_detector(model(name), tmp_path / 'model.onnx', ExportSettings(**settings))
    assert list(tmp_path.iterdir()) == []


def test_a_size_of_the_config_that_no_file_may_have(tmp_path):
    small = build_plainly('yolov8 det', 16)
    with pytest.raises(ConfigError, match=r"img_size is 16 \(the config's\), but must be a side or .h, w. from 32"):
        export_detector(small, tmp_path / 'model.onnx', ExportSettings())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(batch_size=0), 'batch_size is 0, but must be a whole number from 1 to 1024'),
        (dict(batch_size=True), 'batch_size is True'),
        (dict(batch_size=2.0), 'batch_size is 2.0'),
        (dict(dynamic='sise'), "dynamic is 'sise', but must be 'batch', 'size', both, True or False"),
        (dict(dynamic=('batch', 'channels')), "dynamic is 'channels'"),
        (dict(dynamic=3), 'dynamic is 3'),
        (dict(half='yes'), "half is 'yes', but must be True or False"),
        (dict(nms=2.5), 'nms is 2.5, but must be True or False'),
        (dict(score_thr=1.5), 'score_thr is 1.5, but must be a number from 0 to 1'),
        (dict(iou_thr=float('nan')), 'iou_thr is nan'),
        (dict(max_per_img=0), 'max_per_img is 0'),
        (dict(input_type='int8'), "input_type is 'int8', but must be uint8 or float32"),
        (dict(tolerance=-1), 'tolerance is -1'),
        (dict(threads=0), 'threads is 0'),
    ],
)
def test_a_setting_that_makes_no_sense(settings, message):
    with pytest.raises(ConfigError, match=message):
        ExportSettings(**settings)


def test_rotated_boxes_that_are_compared_one_after_another(tmp_path):
    obb = build_task('yolov8 obb', 64)
    obb.head.test_cfg = {**obb.head.test_cfg, 'greedy': True}
    with pytest.raises(ConfigError, match='compared one after another, which no graph holds'):
        export_detector(obb, tmp_path / 'model.onnx', ExportSettings(nms=True))


def test_a_head_of_ones_own_that_predicts_in_one_step(tmp_path):
    det = build_task('yolov8 det', 64)

    class OneStep(type(det.head)):
        def decode(self, preds, img_shapes=None):
            raise NotImplementedError

    from detkit.models.heads.base_head import BaseHead

    OneStep.decode, OneStep.results = BaseHead.decode, BaseHead.results
    det.head.__class__ = OneStep
    with pytest.raises(
        ConfigError, match='OneStep cannot be exported: it writes predict, but neither decode nor results'
    ):
        export_detector(det, tmp_path / 'model.onnx')


def test_a_model_and_a_preprocessor_of_ones_own(tmp_path):
    with pytest.raises(ConfigError, match='Linear cannot be exported, as it is no BaseDetector'):
        export_detector(nn.Linear(1, 1), tmp_path / 'model.onnx')
    det = build_task('yolov8 det', 64)
    det.data_preprocessor = nn.Identity()
    with pytest.raises(ConfigError, match='Identity cannot be exported: it has no method normalize'):
        export_detector(det, tmp_path / 'model.onnx')


def test_a_network_that_the_exporter_does_not_know(tmp_path, monkeypatch):
    """Its own error becomes a sentence, and nothing stays behind."""
    pytest.importorskip('onnx')
    monkeypatch.undo()
    det = build_task('yolov8 det', 64)
    decode = det.head.decode

    def with_fft(preds, img_shapes=None):
        decoded = decode(preds, img_shapes)
        return {**decoded, 'scores': torch.fft.fft(decoded['scores']).real}

    det.head.decode = with_fft
    images = [str(path) for path in write_images(tmp_path / 'images', 1)]
    with pytest.raises(ConfigError, match='this network cannot be exported to ONNX'):
        export_detector(det, tmp_path / 'model.onnx', ExportSettings(img_size=64), images)
    assert [path.name for path in tmp_path.iterdir()] == ['images']


def test_the_name_of_the_file_says_its_format(tmp_path):
    with pytest.raises(
        ConfigError, match="of the format openvino ends in .xml, not 'model.onnx'; format='onnx' writes such a file"
    ):
        export_detector(model('yolov8 det'), tmp_path / 'model.onnx', ExportSettings('openvino'))


def test_a_package_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.undo()
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name, *rest: None if name == 'onnxruntime' else find_spec(name, *rest)
    )
    with pytest.raises(MissingPackageError, match=r'onnx needs .*onnxruntime: pip install "detkit\[export\]"'):
        export_detector(model('yolov8 det'), tmp_path / 'model.onnx')


@pytest.mark.thorough
def test_pictures_that_are_not_there_or_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(DataError, match='lost'):
        export_detector(model('yolov8 det'), tmp_path / 'model.onnx', images=[str(tmp_path / 'lost.jpg')])
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    monkeypatch.undo()
    (tmp_path / 'broken.jpg').write_bytes(b'no picture')
    with pytest.raises(DataError, match='none of the images to check with can be read'):
        broken = [SourceImage(str(tmp_path / 'broken.jpg'))]
        export_detector(model('yolov8 det'), tmp_path / 'model.onnx', ExportSettings(img_size=64), broken)
    assert [path.name for path in tmp_path.iterdir()] == ['broken.jpg']


def test_data_to_test_on_that_cannot_be_tested(tmp_path):
    detector = Detector(write_shallow_checkpoint(tmp_path / 'det.pth', 'det'), device='cpu')
    write_images(tmp_path / 'images', 1)
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'other.yaml').write_text('{train: images, val: images, names: [a]}')
    (tmp_path / 'train.yaml').write_text(f'{{train: ., names: {list(detector.model.info.classes)}}}')
    for name, kind, message in (
        ('lost.yaml', DataError, "there are no data '.*lost.yaml'"),
        ('other.yaml', ConfigError, 'was trained on 3 classes, but tested on 1'),
        ('train.yaml', DataError, "has no key 'val'"),
    ):
        with pytest.raises(kind, match=message):
            detector.export('onnx', data=str(tmp_path / name))
    assert not list(tmp_path.glob('*.onnx'))
