"""Conversion of ultralytics files: what comes out, what is accepted, what is refused and how."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from conversions import converted, same_weights, tensor_refs, ultralytics_shapes
from conversions import error_of as refusal
from coverings import each_of_both
from pickled_files import CLASSES, NARROW, SEED, Change, add_layer, rename, set_attribute, set_epsilon
from small_models import write_images
from ultralytics_files import seeded_tensors, write_pt

from detkit.config import load_config
from detkit.converters.inert_pickle import TorchArchive
from detkit.converters.pickled_model import Scale
from detkit.converters.ultralytics import convert_ultralytics, read_ultralytics
from detkit.converters.ultralytics_keys import YOLOV8_KEYS
from detkit.converters.ultralytics_models import DATASETS, UltralyticsModel
from detkit.engine.finetune import load_weights
from detkit.inference import Predictor, init_detector
from detkit.registry import DETECTORS
from detkit.utils.errors import CheckpointError
from detkit.utils.without_memory import without_memory


def convert(source: Path) -> tuple[dict, str]:
    return converted(convert_ultralytics, source)


def error_of(source: Path) -> str:
    return refusal(convert_ultralytics, source)


@pytest.fixture
def write_narrow(write_ultralytics):
    return write_ultralytics


# What comes out.


def test_the_checkpoint_predicts_and_starts_training(write_narrow, tmp_path):
    checkpoint, _ = convert(write_narrow())
    meta = checkpoint['meta']
    assert meta['classes'] == list(CLASSES) and meta['task'] == 'det'
    assert meta['converted_from'] == {
        'file': 'in.pt',
        'project': 'ultralytics',
        'version': '8.4.190',
        'entry': 'model',
        'licence': 'AGPL-3.0',
    }
    assert all(
        not value.is_floating_point() or value.dtype == torch.float32 for value in checkpoint['state_dict'].values()
    )
    write_images(tmp_path / 'images', 1)
    predictor = Predictor(None, tmp_path / 'in.pth', device='cpu', img_size=64, score_thr=0.01)
    assert predictor.classes == CLASSES
    assert len(predictor.predict(str(tmp_path / 'images'))[0].pred_instances) > 0

    cfg = load_config(CONFIGS / 'yolov8' / 'det_coco.py').model
    cfg.backbone.widen_factor = NARROW
    report = load_weights(DETECTORS.build(cfg), checkpoint, ('person', 'dog', *map(str, range(78))))
    assert report.copied_classes == ['dog'] and not report.unused


def test_weights_are_those_of_the_file(write_narrow):
    source = write_narrow()
    checkpoint, _ = convert(source)
    with TorchArchive(source) as archive:
        found = read_ultralytics(archive)
        for name, value in checkpoint['state_dict'].items():
            expected = archive.read(found.tensors[found.keys.to_theirs(name)])
            assert torch.equal(value, expected.float() if value.is_floating_point() else expected), name


@pytest.mark.thorough
def test_every_kind_of_file_gives_the_same(write_narrow):
    expected, _ = convert(write_narrow())
    # As training writes it: averaged weights beside the optimiser's state, whose tensors are no weights.
    training = {
        'model': None,
        'epoch': 3,
        'best_fitness': np.float64(0.5),
        'updates': 12,
        'scaler': {'scale': 1.0},
        'optimizer': {'state': {0: {'exp_avg': torch.ones(5)}}, 'param_groups': [{'lr': 0.1}]},
        'train_args': {'imgsz': 640, 'project': Path('runs')},
        'train_metrics': {'loss': np.float32(1)},
    }
    stripped = {'ema': None, 'optimizer': None, 'best_fitness': None, 'epoch': -1, 'train_args': {'imgsz': 640}}
    for index, kwargs in enumerate(
        (
            dict(entry='ema', more=training),
            dict(more=stripped),
            dict(dtype=torch.float32),
            dict(dtype=torch.float32, entry='ema', more=training),
            dict(names=list(CLASSES)),
            dict(scale=None, scales={}),
        )
    ):
        checkpoint, _ = convert(write_narrow(f'{index}.pt', **kwargs))
        assert same_weights(checkpoint, expected), kwargs
        for key in ('config', 'classes', 'task'):
            assert checkpoint['meta'][key] == expected['meta'][key], kwargs


def test_the_average_is_taken_where_both_are_there(write_narrow):
    source = write_narrow(entry='ema', more={'model': {'other': torch.zeros(1)}})
    checkpoint, report = convert(source)
    assert checkpoint['meta']['converted_from']['entry'] == 'ema' and "weights 'ema' in half precision" in report


@pytest.mark.thorough
def test_the_size_that_training_used_is_kept(write_narrow):
    for size, expected in ((320, 320), ([256, 192], 256), (None, 640), (333, 640), (320_000, 640)):
        source = write_narrow(more={'train_args': {'imgsz': size}})
        convert(source)
        predictor = Predictor(None, source.with_suffix('.pth'), device='cpu')
        assert predictor.img_size == expected


def test_a_version_and_a_licence_are_a_line(write_narrow):
    source = write_narrow(more={'license': 'free\n\x1b[2J' * 1000, 'version': 'v' * 10**6})
    _, report = convert(source)
    assert len(report) < 2000 and '\x1b' not in report and 'licence  free\\n' in report


def test_names_that_no_checkpoint_holds_are_refused(write_narrow):
    source = write_narrow(names={0: 'x' * 3_000_000, 1: 'y', 2: 'z'})
    assert 'in.pt has class names of 3,000,002 characters' in error_of(source)


def test_labels_in_quotes_are_labels(write_narrow):
    checkpoint, _ = convert(write_narrow(attributes={'names': {'2': 'bird', '0': 'cat', 1: 'dog'}}))
    assert tuple(checkpoint['meta']['classes']) == ('cat', 'dog', 'bird')
    assert 'states no class names' in error_of(write_narrow(attributes={'names': {'0': 'a', 0: 'b', '1': 'c'}}))


def test_a_classifier_keeps_its_epsilon(write_narrow):
    for name, changed, eps in (('a.pt', None, 1e-5), ('b.pt', set_epsilon(1e-3), 1e-3)):
        source = write_narrow(name, task='cls', change=changed)
        convert(source)
        model = init_detector(None, source.with_suffix('.pth'), 'cpu', fuse=False)
        assert {m.eps for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {eps}


def test_the_report_names_the_config_that_fits(ultralytics_layouts, write_narrow, tmp_path, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    classes = tuple(load_config(CONFIGS / 'yolov8' / 'det_coco.py').classes)
    layout = copy.deepcopy(ultralytics_layouts['det_n'])
    set_attribute('model.22', 'nc', 80)(layout, None)
    shapes = ultralytics_shapes('det', 80)
    source = write_pt(tmp_path / 'coco.pt', layout, 'det', seeded_tensors(layout, SEED, shapes), classes=classes)
    checkpoint, report = convert(source)
    assert 'YOLOv8n detection, 80 classes (person, bicycle, car, ...)' in report
    assert '3,157,184 parameters' in report
    assert 'config   yolov8/det_coco --cfg-options prefilter_above=None\n' in report
    assert f'detkit predict yolov8/det_coco {tmp_path}/coco.pth photo.jpg' in report
    assert f'detkit test yolov8/det_coco {tmp_path}/coco.pth' in report
    own = init_detector(CONFIGS / 'yolov8' / 'det_coco.py', tmp_path / 'coco.pth', 'cpu')
    assert own.info.classes == classes

    _, report = convert(write_narrow())
    assert 'with other classes' in report and 'detkit predict - ' in report and 'detkit test' not in report
    options = 'deepen_factor=0.33 widen_factor=0.125 max_channels=1024 prefilter_above=None'
    assert f'det_coco --cfg-options {options}' in report
    assert f'load_from={tmp_path / "in.pth"} {options}' in report


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(('task', 'size'), each_of_both(['det', 'seg', 'pose', 'obb', 'cls'], 'nsmlx'))
def test_every_size_of_every_task_is_recognised(task, size):
    config = CONFIGS / 'yolov8' / f'{task}_{DATASETS[task]}.py'
    shapes = ultralytics_shapes(task, 7, size=size)
    found = UltralyticsModel(
        path=Path('x.pt'),
        task=task,
        classes=tuple('abcdefg'),
        tensors=tensor_refs(shapes),
        norm_eps=1e-5 if task == 'cls' else 1e-3,
        keypoint_shape=(17, 3) if task == 'pose' else None,
    )
    scale = found.find_scale(config)
    assert scale.letter == size
    description = found.describe(scale, config)
    as_theirs = {} if task == 'cls' else {'prefilter_above': None}
    assert description.options == {**({} if size == 'n' else {'size': size}), **as_theirs}
    assert description.differences == ('classes',)
    with without_memory():
        model = DETECTORS.build(description.config['model'])
    assert len(found.match(model.state_dict())) == len(shapes)


def test_factors_without_a_letter(narrow_ultralytics):
    def found_scale(factors, shapes):
        found = UltralyticsModel(
            task='det', path=Path('x.pt'), classes=CLASSES, tensors=tensor_refs(shapes), factors=factors
        )
        return found.find_scale(CONFIGS / 'yolov8' / 'det_coco.py')

    shapes = narrow_ultralytics['det']
    assert found_scale((0.33, NARROW), shapes) == Scale(None, 0.33, NARROW, 1024)
    for factors in (None, (7.0, 7.0)):  # from the weights alone
        found = found_scale(factors, shapes)
        assert found.widen_factor == NARROW and found.max_channels == 1024
    odd = {**shapes, 'model.3.conv.weight': (17, 16, 3, 3)}
    with pytest.raises(CheckpointError, match=r'\(8, 16, 17, 64, 128\) channels'):
        found_scale(None, odd)
    with pytest.raises(CheckpointError, match='channels'):
        found_scale(None, {})


@pytest.mark.parametrize('task', YOLOV8_KEYS)
def test_names_go_there_and_back(task):
    shapes = ultralytics_shapes(task, 3)
    keys = YOLOV8_KEYS[task]
    for name in shapes:
        assert keys.to_theirs(keys.to_detkit(name)) == name
    assert task == 'cls' or keys.to_detkit('model.22.dfl.conv.weight') is None
    with pytest.raises(KeyError):
        keys.to_detkit('model.23.conv.weight')


# What is refused.


def test_unknown_and_missing_parameters_are_all_listed(write_narrow):
    def change(layout, tensors):
        rows = {row[0]: row for row in layout}
        del rows['model.22.cv2.1.2'][3]['weight'], rows['model.7.bn'][4]['running_var']
        rows['model.5.conv'][3]['scale'] = [1]
        layout.append(['model.22.extra', 'torch.nn.modules.conv.Conv2d', {}, {'weight': [1], 'bias': [1]}, {}])
        for name in ('model.5.conv.scale', 'model.22.extra.weight', 'model.22.extra.bias'):
            tensors[name] = torch.zeros(1, dtype=torch.float16)
        tensors['model.0.bn.bias'] = torch.zeros(9, dtype=torch.float16)

    message = error_of(write_narrow(change=change))
    assert '3 unknown:\n  model.5.conv.scale\n  model.22.extra.weight\n  model.22.extra.bias' in message
    assert '2 missing:\n  model.7.bn.running_var\n  model.22.cv2.1.2.weight' in message
    assert '1 of another shape:\n  model.0.bn.bias (9,) instead of (8,)' in message


def cut_to(count: int) -> Change:
    def change(layout, tensors):
        del layout[count:]

    return change


@pytest.mark.default_cases(4)
@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (rename('model.2', 'ultralytics.nn.modules.block.C3k2'), 'layer 2 is a C3k2, where YOLOv8 has C2f'),
        (rename('model.2', 'ultralytics.nn.modules.block.C3'), 'layer 2 is a C3, where YOLOv8 has C2f'),
        (
            rename('model.22', 'ultralytics.nn.modules.head.v10Detect'),
            'layer 22 is a v10Detect, where YOLOv8 has Detect, ',
        ),
        (set_attribute('model.11', 'f', [-1, 5]), r'layer 11 (Concat) takes layer [-1, 5], where YOLOv8 takes [-1, 6]'),
        (set_attribute('model.22', 'f', [12, 18, 21]), 'layer 22 (Detect) takes layer [12, 18, 21]'),
        (add_layer('model.23', 'ultralytics.nn.modules.conv.Conv'), 'has 24 layers, where YOLOv8 has 23'),
        (cut_to(1), 'not a sequence of layers'),
        (rename('', 'models.yolo.DetectionModel'), 'a models.yolo.DetectionModel of the YOLOv5 repository'),
        (rename('', 'thirdparty.Net'), 'a thirdparty.Net, no YOLOv8'),
        (rename('model.0.act', 'torch.nn.modules.activation.ReLU'), 'model.0 has the activation ReLU'),
        (set_attribute('model.9.m', 'kernel_size', 3), 'model.9.m (MaxPool2d) has kernel_size 3, where YOLOv8 has 5'),
        (set_attribute('model.2.m.0', 'add', False), 'model.2.m.0 (Bottleneck) has add False'),
        (set_attribute('model.12.m.0', 'add', True), 'model.12.m.0 (Bottleneck) has add True'),
        (set_attribute('model.10', 'mode', 'bilinear'), "mode 'bilinear'"),
        (set_attribute('model.0.bn', 'eps', 1e-5), 'differ in eps'),
        (set_attribute('model.22', 'nc', 4), 'names 3 classes, but its head has 4'),
    ],
)
def test_another_model_is_one_clear_sentence(write_narrow, change, expected):
    message = error_of(write_narrow(change=change))
    assert expected in message and 'in.pt' in message and '\n' not in message


@pytest.mark.parametrize(
    ('attributes', 'expected'),
    [
        ({'stride': torch.tensor([8.0, 16.0, 64.0])}, 'strides are [8.0, 16.0, 64.0]'),
        ({'names': {0: 'a', 2: 'b', 3: 'c'}}, 'states no class names'),
        ({'names': None}, 'states no class names'),
        ({'names': {0: 'a', 1: 'b'}}, 'names 2 classes, but its head has 3'),
    ],
)
def test_attributes_of_the_model_are_checked(write_narrow, attributes, expected):
    assert expected in error_of(write_narrow(attributes=attributes))


def test_keypoints_of_a_strange_shape(ultralytics_layouts, tmp_path):
    layout = copy.deepcopy(ultralytics_layouts['pose_n'])
    set_attribute('model.22', 'kpt_shape', [5, 4])(layout, None)
    source = write_pt(tmp_path / 'in.pt', layout, 'pose', seeded_tensors(layout, SEED))
    assert 'keypoints of shape [5, 4]' in error_of(source)


def test_layers_nested_without_end(write_narrow, tmp_path):
    with TorchArchive(write_narrow()) as archive:
        model = archive.content['model']
        block = model.get('_modules')['model'].get('_modules')['2']
        block.get('_modules')['self'] = block
        with pytest.raises(CheckpointError, match='nests them endlessly'):
            read_ultralytics(archive)
