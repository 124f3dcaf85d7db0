"""Exported files against PyTorch: every format, its description, and its detector in a predictor."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from every_task import build_task
from mmengine.structures import InstanceData
from small_models import CLASSES, write_images, write_shallow_checkpoint
from torch.utils._pytree import tree_map

from detkit.export import ExportSettings, export_detector
from detkit.export.check import _add_means, _count_matches
from detkit.export.differences import Differences, Means
from detkit.export.exporting import ExportError, _acceptance
from detkit.export.format import all_formats, find_format
from detkit.export.formats.openvino import OpenVinoSession
from detkit.export.plan import make_plan
from detkit.export.repetition import changing_part
from detkit.inference import Predictor, init_detector
from detkit.structures.data_sample import DetDataSample
from detkit.utils.front_end import at_the_command_line


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return write_shallow_checkpoint(tmp_path_factory.mktemp('model') / 'seg.pth')


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return [str(path) for path in write_images(tmp_path_factory.mktemp('images'), 3)]


SLOW = ('aotinductor', 'executorch', 'litert')  # which compile for a minute


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    'name',
    [pytest.param(fmt.name, marks=[pytest.mark.slow] if fmt.name in SLOW else []) for fmt in all_formats()],
)
def test_a_file_gives_what_pytorch_gives_and_says_what_it_is(name, checkpoint, images, tmp_path):
    fmt = find_format(name)
    for package in {**fmt.packages, **fmt.converters}:
        pytest.importorskip(package)
    if fmt.why_unbuilt() or fmt.why_unchecked():
        pytest.skip(fmt.why_unbuilt() or fmt.why_unchecked())
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


@pytest.mark.parametrize('name', ['backbone', 'head'])
def test_a_part_whose_results_change_from_call_to_call_is_named(checkpoint, images, tmp_path, name):
    pytest.importorskip('onnxruntime')
    model = init_detector(None, checkpoint, 'cpu')
    part = getattr(model, name)
    assert changing_part(model, (64, 64)) is None
    part.register_forward_hook(
        lambda module, inputs, outputs: tree_map(lambda one: one + 0.1 * torch.rand_like(one), outputs)
    )
    where = f'{name} ({type(part).__name__})'
    assert changing_part(model, (64, 64)) == where
    with pytest.raises(ExportError, match=rf'results of its {re.escape(where)} change from call to call'):
        export_detector(model, tmp_path / 'seg.onnx', ExportSettings(img_size=64), images)


def test_a_model_whose_values_are_no_numbers_is_named(checkpoint, images, tmp_path):
    pytest.importorskip('onnxruntime')
    model = init_detector(None, checkpoint, 'cpu')
    with torch.no_grad():
        next(model.backbone.parameters()).fill_(torch.nan)
    assert changing_part(model, (64, 64)) is None
    with pytest.raises(ExportError, match='model itself computes values that are not a number: its weights are of no'):
        export_detector(model, tmp_path / 'seg.onnx', ExportSettings(img_size=64), images)


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('name', ['yolov8 det', 'rtdetr det'])
def test_half_precision_that_is_too_coarse_says_why_and_what_to_do(name, images, tmp_path):
    pytest.importorskip('openvino')
    settings = ExportSettings('openvino', img_size=64, half=True, dynamic=False, tolerance=1e-9)
    sentence = (
        r'differs from PyTorch: boxes differ by \S+ px, more than 1e-09. Its weights are too coarse in half '
        r'precision; rounded so in PyTorch, boxes differ by \S+ px, more than 1e-09: leave half=True out'
    )
    model = build_task(name, 64, shallow=name == 'yolov8 det')
    with pytest.raises(ExportError, match=sentence) as refusal:
        export_detector(model, tmp_path / 'model.xml', settings, images)
    offer = r'; where detkit test finds its metrics as good, tolerance=(\d+) accepts it$'
    accepted = re.search(offer, str(refusal.value))
    export_detector(model, tmp_path / 'model.xml', replace(settings, tolerance=float(accepted[1])), images)
    assert (tmp_path / 'model.xml').is_file()


def test_what_accepts_a_file_is_named_as_the_user_gives_it():
    plan = make_plan(build_task('yolov8 det', 64), ExportSettings('openvino', img_size=64, half=True, dynamic=False))
    assert _acceptance(Differences(bboxes=8.5), plan).endswith('tolerance=9 accepts it')
    assert _acceptance(Differences(bboxes=8.5, scores=1.0), plan) == ''
    assert _acceptance(Differences(bboxes=float('nan')), plan) == ''
    with at_the_command_line():
        assert _acceptance(Differences(bboxes=8.5), plan).endswith(' --tolerance 9 accepts it')


def test_half_precision_that_only_the_file_has_wrong_is_no_fault_of_the_weights(images, tmp_path, monkeypatch):
    pytest.importorskip('openvino')

    class Wrong(OpenVinoSession):
        def __call__(self, inputs):
            found = super().__call__(inputs)
            return {**found, 'bboxes': found['bboxes'] + 9}

    monkeypatch.setattr('detkit.export.formats.openvino.OpenVinoSession', Wrong)
    settings = ExportSettings('openvino', img_size=64, half=True, dynamic=False)
    sentence = 'rounded to half precision are fine in PyTorch; what OpenVINO computes is not: leave half=True out'
    with pytest.raises(ExportError, match=sentence):
        export_detector(build_task('yolov8 det', 64, shallow=True), tmp_path / 'model.xml', settings, images)


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


def test_a_check_that_found_nothing_does_not_call_it_equal():
    found = Differences(images=4, batches=[(1, 64, 64)])
    assert 'nothing is found in them at this score_thr, so that nothing was compared' in '\n'.join(found.lines())
    assert 'largest difference' not in '\n'.join(found.lines())
    assert 'largest difference: boxes 0 px' in '\n'.join(Differences(tensors={'scores': 0.0}).lines())


def test_int8_is_judged_by_the_mean_differences_of_what_is_found(checkpoint):
    scores = torch.zeros(1, 1000, 2)
    scores[0, :100, 0] = 0.5
    expected = {'scores': scores, 'bboxes': torch.full((1, 1000, 4), 10.0), 'mask_coeffs': torch.ones(1, 1000, 8)}
    given = {name: value.clone() for name, value in expected.items()}
    given['scores'][0, 0, 0] = 0.0  # one of the hundred
    given['bboxes'][0, 1] = 30.0
    given['bboxes'][0, 500:] = 900.0  # of what nobody finds
    given['mask_coeffs'][0, :50] = 1.5
    means = Means()
    _add_means(expected, given, (100, 100), means)
    assert (means['scores'], means['bboxes']) == (pytest.approx(0.005), pytest.approx(0.2))
    assert means.others() == {'mask_coeffs': pytest.approx(0.25)}
    pytest.importorskip('onnxruntime')
    plan = replace(make_plan(init_detector(None, checkpoint, 'cpu'), ExportSettings('onnx', img_size=64)), int8=True)
    assert Differences(bboxes=90.0, scores=0.5, means=means).failures(plan) == []
    assert 'boxes differ by 0.2 px on average' in Differences(means=means).failures(plan, tolerance=0.1)[0]
    given['scores'][0, :100, 0] = float('nan')
    _add_means(expected, given, (100, 100), means)
    assert 'scores differ by nan' in Differences(means=means).failures(plan)[0]
    nothing = {'scores': torch.rand(2, 3) * 0.01}  # a classifier of many classes
    means = Means()
    _add_means(nothing, {'scores': nothing['scores'] + 0.5}, (8, 8), means)
    assert means['scores'] == pytest.approx(0.5)
