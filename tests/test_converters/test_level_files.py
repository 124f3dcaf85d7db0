"""Conversion of files of YOLOv8 and YOLO26 with a fourth level, of stride 4 or 64: sizes, names, detections."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS, model_config
from conversions import converted, tensor_refs
from coverings import slow_unless
from parity.levels_shapes import SHAPE
from parity.seeded import assert_matches, seeded_tensor
from pickled_files import SEED, rename, set_attribute
from ultralytics_files import read_recorded, refusal_of, seeded_tensors, write_pt

from detkit.converters.ultralytics import convert_ultralytics
from detkit.converters.ultralytics_levels import YOLO26P2Model, YOLO26P6Model, YOLOv8P2Model, YOLOv8P6Model
from detkit.inference.model import init_detector
from detkit.registry import DETECTORS
from detkit.utils.without_memory import without_memory

MODELS = {
    'yolov8_p2': YOLOv8P2Model,
    'yolov8_p6': YOLOv8P6Model,
    'yolo26_p2': YOLO26P2Model,
    'yolo26_p6': YOLO26P6Model,
    'yolov8_p6_seg': YOLOv8P6Model,
    'yolov8_p6_pose': YOLOv8P6Model,
}
KEYPOINT_SHAPE = (5, 2)  # of the recorded file
INNER = {'n': 'bottleneck', 's': 'bottleneck', 'm': 'c3k', 'l': 'c3k', 'x': 'c3k'}


def task_of(name: str) -> str:
    return name.split('_')[2] if name.count('_') == 2 else 'det'


def layout_of(name: str) -> list:
    return copy.deepcopy(read_recorded('levels')['layouts'][name])


def model_of(name: str, shapes: dict, size: str = 'n'):
    more = {'inner': INNER[size]} if 'yolo26' in name else {}
    if task_of(name) == 'pose':
        more['keypoint_shape'] = KEYPOINT_SHAPE
    return MODELS[name](
        task=task_of(name), path=Path('x.pt'), classes=tuple('abcdefg'), tensors=tensor_refs(shapes), **more
    )


def shapes_of(name: str, size: str, num_classes: int = 7) -> dict[str, tuple[int, ...]]:
    family, level = name.split('_')[:2]
    config = model_config(f'{family}_{task_of(name)}_{level}', num_classes, size=size).to_dict()
    if task_of(name) == 'pose':
        config['head']['keypoint_shape'] = KEYPOINT_SHAPE
    with without_memory():
        state = DETECTORS.build(config).state_dict()
    keys = model_of(name, {}, size).keys
    return {keys.to_theirs(each): tuple(value.shape) for each, value in state.items()}


def strides(name: str) -> dict[str, torch.Tensor]:
    return {'stride': torch.tensor(MODELS[name].strides, dtype=torch.float32)}


# Tasks have the sizes of detection.
@pytest.mark.default_cases(3)
@pytest.mark.parametrize(
    ('name', 'size'),
    [slow_unless(task_of(name) == 'det' or size == 'n', name, size) for name in MODELS for size in INNER],
)
def test_every_size_is_recognised(name, size):
    found = model_of(name, shapes_of(name, size), size)
    config = CONFIGS / found.config
    scale = found.find_scale(config)
    assert scale.letter == size and config.with_name(found.custom).is_file()
    description = found.describe(scale, config)
    with without_memory():
        model = DETECTORS.build(description.config['model'])
    assert len(found.match(model.state_dict())) == len(found.tensors)


@pytest.mark.parametrize('name', MODELS)
def test_names_are_those_of_the_reference_there_and_back(name):
    modules = layout_of(name)
    names = {f'{module}.{key}' for module, _, _, *tables in modules for table in tables for key in table}
    weights, keys = {key for key in names if '.dfl.' not in key}, model_of(name, {}).keys
    assert weights == set(shapes_of(name, 'n')) == {keys.to_theirs(keys.to_detkit(key)) for key in weights}


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('name', MODELS)
def test_detections_of_a_converted_file_equal_the_reference(tmp_path, name):
    recorded, modules, classes = read_recorded('levels'), layout_of(name), tuple('abc')
    tensors = seeded_tensors(modules, int(recorded['seed']))
    source = write_pt(tmp_path / 'in.pt', modules, task_of(name), tensors, classes=classes, attributes=strides(name))
    report = convert_ultralytics(source, tmp_path / 'out.pth', CONFIGS)
    family, level = name.split('_')[:2]
    title = {'det': 'detection', 'seg': 'segmentation', 'pose': 'pose'}[task_of(name)]
    assert any(f'{MODELS[name].family}n{MODELS[name].variant} {title}' in line for line in report)
    assert any(f'{family}/{task_of(name)}_{level}_custom' in line for line in report)
    model = init_detector(None, tmp_path / 'out.pth', device='cpu', fuse=False).double()
    more = {} if 'yolo26' in name else {'multi_label': False}
    model.head.test_cfg.update(score_thr=float(recorded['score_thr']), **more)
    count = int(recorded['images'])
    with torch.no_grad():
        preds = model(seeded_tensor((count, 3, *SHAPE), 'image', int(recorded['seed'])))
    results = model.head.predict(preds, [dict(matrix=np.eye(3), ori_shape=SHAPE)] * count)
    for image, result in enumerate(results):
        found = result.pred_instances
        table = torch.cat([found.bboxes, found.scores.unsqueeze(1), found.labels.unsqueeze(1)], 1)
        if 'keypoints' in found:
            table = torch.cat([table, found.keypoints.flatten(1)], 1)
        assert len(table) == recorded[f'{name}.detections.{image}.count']
        assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(
    ('name', 'change', 'expected'),
    [
        (
            'yolov8_p6',
            rename('model.14', 'ultralytics.nn.modules.block.C2f'),
            'layer 14 is a C2f, where YOLOv8-p6 has C2',
        ),
        (
            'yolov8_p6',
            rename('model.30', 'ultralytics.nn.modules.head.OBB'),
            'layer 30 is a OBB, where YOLOv8-p6 has Detect, Segment or Pose',
        ),
        ('yolov8_p6', set_attribute('model.14.m.0', 'add', True), 'has add True, where YOLOv8-p6 has False'),
        ('yolov8_p2', set_attribute('model.20', 'd', 2), 'model.20 (Concat) has d 2'),
        ('yolov8_p2', set_attribute('model.17', 'f', [-1, 4]), 'takes layer [-1, 4], where YOLOv8-p2 takes [-1, 2]'),
        ('yolo26_p6', set_attribute('model.11', 'add', True), 'model.11 (SPPF) has add True, where YOLO26-p6'),
        ('yolo26_p2', set_attribute('model.9', 'add', False), 'model.9 (SPPF) has add False, where YOLO26-p2'),
    ],
)
def test_another_model_is_one_clear_sentence(tmp_path, name, change, expected):
    modules = layout_of(name)
    change(modules, None)
    assert expected in refusal_of(modules, tmp_path)


def test_other_strides_are_refused(tmp_path):
    modules = layout_of('yolov8_p6')
    message = refusal_of(modules, tmp_path)  # which states those of three levels
    assert 'its strides are [8.0, 16.0, 32.0], where YOLOv8-p6 has [8, 16, 32, 64]' in message


def test_weights_of_a_file_are_kept(tmp_path):
    modules = layout_of('yolov8_p6')
    tensors = seeded_tensors(modules, SEED)
    source = write_pt(tmp_path / 'in.pt', modules, 'det', tensors, attributes=strides('yolov8_p6'))
    checkpoint, _ = converted(convert_ultralytics, source)
    ours = checkpoint['state_dict']['neck.1.up_blocks.2.blocks.0.conv1.conv.weight']
    assert torch.equal(ours, tensors['model.14.m.0.cv1.conv.weight'].float())
