"""Exported files against PyTorch: every format, its description, and its detector in a predictor."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from small_models import CLASSES, write_checkpoint, write_images

from detkit.export import ExportSettings, export_detector
from detkit.export.check import Differences, _count_matches
from detkit.export.format import all_formats, find_format
from detkit.inference import Predictor, init_detector
from detkit.structures.data_sample import DetDataSample


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp('model') / 'seg.pth')


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return [str(path) for path in write_images(tmp_path_factory.mktemp('images'), 3)]


SLOW = ('aotinductor', 'litert')  # which compile for a minute


@pytest.mark.parametrize(
    'name',
    [pytest.param(fmt.name, marks=[pytest.mark.slow] if fmt.name in SLOW else []) for fmt in all_formats()],
)
def test_a_file_gives_what_pytorch_gives_and_says_what_it_is(name, checkpoint, images, tmp_path):
    fmt = find_format(name)
    for package in {**fmt.packages, **fmt.converters}:
        pytest.importorskip(package)
    model = init_detector(None, checkpoint, 'cpu')
    path = tmp_path / f'seg{fmt.suffix}'
    lines = []
    done = export_detector(model, path, ExportSettings(name, img_size=64), images, checkpoint, lines.append)
    assert done.differences.images == 3 and done.differences.bboxes < 0.01 and done.differences.scores < 1e-4
    assert done.differences.matched > 10 and set(done.differences.tensors) == {
        'bboxes',
        'scores',
        'mask_coeffs',
        'mask_protos',
    }
    assert 'largest difference' in lines[0] and sorted(file.suffix for file in tmp_path.iterdir()) == sorted(
        file.suffix for file in fmt.files(path)
    )
    exported = init_detector(None, path, runtime=name)
    assert exported.info.classes == CLASSES and exported.info.config['task'] == 'seg'
    assert (
        exported.description.size == (64, 64) and exported.description.difference['bboxes'] == done.differences.bboxes
    )
    (found,) = Predictor(model=exported, max_per_img=5).predict(images[0])
    assert len(found.pred_instances) == 5 and len(found.pred_instances.masks) == 5
    assert found.img_shape == (64, 64) and found.ori_shape == (60, 90)


def test_a_network_that_differs_is_refused_and_kept_for_a_look(checkpoint, images, tmp_path, monkeypatch):
    pytest.importorskip('onnxruntime')
    from detkit.export.exporting import ExportError
    from detkit.export.formats.onnx import OnnxSession

    run = OnnxSession.__call__

    def shifted(self, inputs):
        return {name: value + 0.01 for name, value in run(self, inputs).items()}

    monkeypatch.setattr(OnnxSession, '__call__', shifted)
    model = init_detector(None, checkpoint, 'cpu')
    (tmp_path / 'seg.onnx').write_bytes(b'an older one')
    with pytest.raises(ExportError, match=r'scores differ by 0.01, more than 0.001.*seg.failed.onnx'):
        export_detector(model, tmp_path / 'seg.onnx', ExportSettings(img_size=64), images)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['seg.failed.onnx', 'seg.onnx']
    assert (tmp_path / 'seg.onnx').read_bytes() == b'an older one'


def test_a_head_is_decoded_and_made_results_in_two_steps(checkpoint):
    model = init_detector(None, checkpoint, 'cpu')
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    meta = dict(matrix=np.eye(3), ori_shape=(64, 64), img_shape=(64, 64))
    with torch.no_grad():
        (plain,) = model.head.predict(model(image / 255), [meta])
        (split,) = model.head.results(model.decode(image), [meta])
    assert len(plain.pred_instances) and torch.equal(plain.pred_instances.bboxes, split.pred_instances.bboxes)


def test_a_box_without_area_is_its_own_partner():
    bboxes = torch.tensor([[0.0, 0, 0, 10], [0.0, 20, 0, 40], [5.0, 5, 9, 9]])
    instances = InstanceData(bboxes=bboxes, scores=torch.ones(3), labels=torch.zeros(3, dtype=torch.int64))
    sample = DetDataSample(pred_instances=instances)
    found = Differences()
    _count_matches(sample, sample, found)
    assert (found.matched, found.unmatched) == (3, 0)
