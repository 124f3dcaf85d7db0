"""Conversion of YOLOv5 files: what comes out, what is accepted, what is refused and how."""

from __future__ import annotations

import copy
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from conversions import YOLOV5_CONFIG as CONFIG
from conversions import converted, same_weights, tensor_refs, yolov5_config, yolov5_model, yolov5_shapes
from conversions import error_of as refusal
from parity.yolov5_state import ANCHORS
from pickled_files import CLASSES, NARROW, SEED, add_layer, rename, set_attribute, set_epsilon
from small_models import write_images
from yolov5_files import seeded_tensors, write_pt

from detkit.config import load_config
from detkit.converters.pickled_model import Scale
from detkit.converters.yolov5 import YOLOV5_KEYS, convert_yolov5
from detkit.engine.finetune import load_weights
from detkit.inference import Predictor, init_detector
from detkit.models.heads.anchor_head import COCO_ANCHORS
from detkit.registry import DETECTORS
from detkit.utils.errors import CheckpointError
from detkit.utils.without_memory import without_memory


def convert(source: Path) -> tuple[dict, str]:
    return converted(convert_yolov5, source)


def error_of(source: Path) -> str:
    return refusal(convert_yolov5, source)


@pytest.fixture
def write_narrow(write_yolov5):
    return write_yolov5


# What comes out.


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('release', ['5', '6', '7'])
def test_the_checkpoint_predicts_and_starts_training(write_narrow, tmp_path, release):
    checkpoint, report = convert(write_narrow(release=release))
    meta = checkpoint['meta']
    assert meta['classes'] == list(CLASSES) and meta['task'] == 'det'
    version = 'up to 5.0' if release == '5' else '6.0 or newer'
    assert meta['converted_from'] == {'file': 'in.pt', 'project': 'yolov5', 'version': version, 'entry': 'model'}
    assert all(
        not value.is_floating_point() or value.dtype == torch.float32 for value in checkpoint['state_dict'].values()
    )
    write_images(tmp_path / 'images', 1)
    predictor = Predictor(None, tmp_path / 'in.pth', device='cpu', score_thr=0.001)
    assert predictor.classes == CLASSES and predictor.img_size == 416
    assert predictor.model.head.prior_generator.anchors == ANCHORS
    predictor = Predictor(None, tmp_path / 'in.pth', device='cpu', img_size=64, score_thr=0.001)
    assert len(predictor.predict(str(tmp_path / 'images'))[0].pred_instances) > 0

    # What is printed for training gives the same model, which takes the weights.
    train = next(line for line in report.splitlines() if line.startswith('train'))
    program, config, _, *options = shlex.split(train)[2:]
    assert program == 'train' and f'load_from={tmp_path / "in.pth"}' in options
    cfg = load_config(config, [o for o in options if not o.startswith('data_yaml')], need_classes=False).model
    cfg.head.num_classes = 5
    report = load_weights(DETECTORS.build(cfg), checkpoint, ('dog', *'abcd'))
    assert report.copied_classes == ['dog'] and not report.unused


def test_weights_are_those_of_the_file(write_narrow, yolov5_layouts, narrow_yolov5):
    checkpoint, _ = convert(write_narrow())
    tensors = seeded_tensors(yolov5_layouts['7_n'], SEED, narrow_yolov5[False])
    assert len(checkpoint['state_dict']) == len(tensors)
    for name, value in checkpoint['state_dict'].items():
        expected = tensors[YOLOV5_KEYS[False].to_theirs(name)]
        assert torch.equal(value, expected.float() if value.is_floating_point() else expected), name


@pytest.mark.thorough
def test_every_kind_of_file_gives_the_same(write_narrow):
    expected, _ = convert(write_narrow())
    # As training writes it: averaged weights beside the optimiser's state, whose tensors are no weights.
    training = {
        'model': {'other': torch.zeros(1)},
        'epoch': 3,
        'best_fitness': np.array([0.5]),
        'updates': 12,
        'optimizer': {'state': {0: {'momentum_buffer': torch.ones(5)}}, 'param_groups': [{'lr': 0.1}]},
        'wandb_id': None,
        'git': {'repo': None},
    }

    def of_repository(layout, tensors):
        for row in layout:
            row[1] = row[1].replace('yolov5.models.', 'models.')

    def of_60(layout, tensors):  # one class name for all models
        layout[0][1] = 'yolov5.models.yolo.Model'

    for index, kwargs in enumerate(
        (
            dict(entry='ema', more=training),
            dict(dtype=torch.float32),
            dict(names=dict(enumerate(CLASSES))),
            dict(change=of_repository),
            dict(change=of_60),
            dict(release='6'),
        )
    ):
        checkpoint, _ = convert(write_narrow(f'{index}.pt', **kwargs))
        assert same_weights(checkpoint, expected), kwargs
        for key in ('config', 'classes', 'task'):
            assert checkpoint['meta'][key] == expected['meta'][key], kwargs


def test_the_report_names_the_config_that_fits(yolov5_layouts, tmp_path, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    classes = tuple(load_config(CONFIGS / 'yolov5' / 'det_coco.py').classes)
    layout = copy.deepcopy(yolov5_layouts['7_n'])
    set_attribute('model.24', 'nc', 80)(layout, None)
    tensors = seeded_tensors(layout, SEED, yolov5_shapes('n', False, 80), 80)
    source = write_pt(tmp_path / 'coco.pt', layout, tensors, classes=classes, anchors=COCO_ANCHORS[3])
    _, report = convert(source)
    assert 'YOLOv5n detection, 80 classes (person, bicycle, car, ...)' in report
    assert '1,872,157 parameters' in report
    options = '--cfg-options prefilter_above=None predict_cfg.iou_thr=0.45 predict_cfg.max_per_img=1000'
    assert f'config   yolov5/det_coco {options}\n' in report
    assert f'detkit predict yolov5/det_coco {tmp_path}/coco.pth photo.jpg' in report
    assert f'detkit test yolov5/det_coco {tmp_path}/coco.pth' in report
    assert f'data_yaml=path/to/data.yaml load_from={tmp_path}/coco.pth prefilter_above=None' in report
    own = init_detector(CONFIGS / 'yolov5' / 'det_coco.py', tmp_path / 'coco.pth', 'cpu')
    assert own.info.classes == classes


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('focus', [False, True])
@pytest.mark.parametrize('size', 'nsmlx')
def test_every_size_is_recognised(size, focus):
    shapes = yolov5_shapes(size, focus, 7)
    found = yolov5_model(tuple('abcdefg'), tensor_refs(shapes), focus)
    scale = found.find_scale(CONFIG)
    assert scale.letter == size
    description = found.describe(scale, CONFIG)
    as_theirs = {'prefilter_above': None, 'predict_cfg.iou_thr': 0.45, 'predict_cfg.max_per_img': 1000}
    assert description.options == {**({} if size == 'n' else {'size': size}), **as_theirs}
    assert description.differences == (*(['layers (those of release 5.0)'] if focus else []), 'classes')
    assert description.config['model'] == yolov5_config(size, focus, 7)
    with without_memory():
        model = DETECTORS.build(description.config['model'])
    assert len(found.match(model.state_dict())) == len(shapes)


def test_factors_without_a_letter(narrow_yolov5):
    def found_scale(factors, shapes):
        return yolov5_model(CLASSES, tensor_refs(shapes), factors=factors).find_scale(CONFIG)

    shapes = narrow_yolov5[False]
    assert found_scale((0.33, NARROW), shapes) == Scale(None, 0.33, NARROW, 1024)
    assert found_scale(None, shapes).widen_factor == NARROW  # from the weights alone
    for odd in ({**shapes, 'model.3.conv.weight': (17, 16, 3, 3)}, {}):
        with pytest.raises(CheckpointError, match='channels'):
            found_scale(None, odd)


def test_what_differs_is_named_and_kept(write_narrow):
    source = write_narrow(change=set_epsilon(1e-5))
    _, report = convert(source)
    assert 'with other anchors, normalisation, classes; write' in report
    model = init_detector(None, source.with_suffix('.pth'), 'cpu', fuse=False)
    assert {m.eps for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-5}


@pytest.mark.parametrize('focus', YOLOV5_KEYS)
def test_names_go_there_and_back(focus, narrow_yolov5):
    keys = YOLOV5_KEYS[focus]
    for name in narrow_yolov5[focus]:
        assert keys.to_theirs(keys.to_detkit(name)) == name
    assert keys.to_detkit('model.24.anchor_grid') is None
    with pytest.raises(KeyError):
        keys.to_detkit('model.25.conv.weight')


# What is refused.


def test_unknown_and_missing_parameters_are_all_listed(write_narrow):
    def change(layout, tensors):
        rows = {row[0]: row for row in layout}
        del rows['model.24.m.1'][3]['weight'], rows['model.7.bn'][4]['running_var']
        rows['model.5.conv'][3]['scale'] = [1]
        tensors['model.5.conv.scale'] = torch.zeros(1, dtype=torch.float16)
        tensors['model.0.bn.bias'] = torch.zeros(9, dtype=torch.float16)

    message = error_of(write_narrow(change=change))
    assert '1 unknown:\n  model.5.conv.scale' in message
    assert '2 missing:\n  model.7.bn.running_var\n  model.24.m.1.weight' in message
    assert '1 of another shape:\n  model.0.bn.bias (9,) instead of (8,)' in message


def without_anchors(layout, tensors):
    for row in layout:
        row[4].pop('anchors', None)


@pytest.mark.default_cases(5)
@pytest.mark.parametrize(
    ('release', 'change', 'expected'),
    [
        (
            '7',
            rename('model.2', 'yolov5.models.common.BottleneckCSP'),
            'layer 2 is a BottleneckCSP, where YOLOv5 has C3',
        ),
        ('7', rename('model.24', 'yolov5.models.yolo.Segment'), 'layer 24 is a Segment, where YOLOv5 has Detect'),
        ('5', rename('model.8', 'yolov5.models.common.SPPF'), 'layer 8 is a SPPF, where YOLOv5 has SPP'),
        ('7', rename('', 'models.yolo.SegmentationModel'), 'a segmentation model of YOLOv5'),
        ('7', rename('', 'models.yolo.ClassificationModel'), 'a classifier of YOLOv5'),
        ('7', rename('', 'models.common.AutoShape'), 'a models.common.AutoShape, no YOLOv5 model as its training'),
        ('7', rename('', 'ultralytics.nn.tasks.DetectionModel'), 'detkit convert ultralytics'),
        ('7', set_attribute('model.12', 'f', [-1, 5]), r'layer 12 (Concat) takes layer [-1, 5], where YOLOv5 takes '),
        ('7', add_layer('model.25', 'yolov5.models.common.Conv'), 'has 26 layers, where YOLOv5 has 25'),
        ('7', rename('model.0.act', 'torch.nn.modules.activation.Hardswish'), 'model.0 has the activation Hardswish'),
        (
            '7',
            set_attribute('model.9.m', 'kernel_size', 3),
            'model.9.m (MaxPool2d) has kernel_size 3, where YOLOv5 has 5',
        ),
        ('5', set_attribute('model.8.m.1', 'kernel_size', 7), 'has kernel_size 7, where YOLOv5 has 9'),
        ('7', set_attribute('model.8.m.0', 'add', False), 'model.8.m.0 (Bottleneck) has add False'),
        ('5', set_attribute('model.9.m.0', 'add', True), 'model.9.m.0 (Bottleneck) has add True'),
        ('7', set_attribute('model.0.bn', 'eps', 1e-5), 'differ in eps'),
        ('7', set_attribute('model.24', 'nc', 4), 'names 3 classes, but its head has 4'),
        ('7', without_anchors, 'anchors of shape None'),
    ],
)
def test_another_model_is_one_clear_sentence(write_narrow, release, change, expected):
    message = error_of(write_narrow(release=release, change=change))
    assert expected in message and 'in.pt' in message and '\n' not in message


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(attributes={'stride': torch.tensor([8.0, 16.0, 64.0])}), 'strides are [8.0, 16.0, 64.0]'),
        (dict(names={0: 'a', 2: 'b', 3: 'c'}), 'states no class names'),
        (dict(names=['a', 'b']), 'names 2 classes, but its head has 3'),
        (dict(anchors=ANCHORS[:2]), 'anchors of shape (2, 3, 2)'),
        (dict(anchors=((((0.0, 1.0)),),) * 3), 'anchors without a size'),
    ],
)
def test_attributes_of_the_model_are_checked(write_narrow, options, expected):
    assert expected in error_of(write_narrow(**options))
