"""Conversion of YOLO11's files: sizes, names, and what differs from release to release."""

import copy
from pathlib import Path

import pytest
import torch
from builders import CONFIGS, model_config
from conversions import converted, error_of, tensor_refs
from coverings import each_of_both, slow_unless
from pickled_files import SEED, rename, set_attribute
from ultralytics_files import read_recorded, seeded_tensors, write_pt

from detkit.converters.ultralytics import convert_ultralytics
from detkit.converters.ultralytics_keys import yolo11_keys
from detkit.converters.ultralytics_models import DATASETS, YOLO11Model
from detkit.inference import init_detector
from detkit.registry import DETECTORS
from detkit.utils.without_memory import without_memory

INNER = {'n': 'bottleneck', 's': 'bottleneck', 'm': 'c3k', 'l': 'c3k', 'x': 'c3k'}
IDENTITY = 'torch.nn.modules.linear.Identity'


@pytest.fixture(scope='module')
def layouts() -> dict:
    return read_recorded('yolo11')['layouts']


def shapes_of(task: str, size: str, inner: str) -> dict[str, tuple[int, ...]]:
    with without_memory():
        state = DETECTORS.build(model_config(f'yolo11_{task}', 7, size=size, inner=inner)).state_dict()
    return {yolo11_keys(task, inner).to_theirs(name): tuple(value.shape) for name, value in state.items()}


def model_of(task: str, size: str, inner: str) -> YOLO11Model:
    return YOLO11Model(
        path=Path('x.pt'),
        task=task,
        classes=tuple('abcdefg'),
        tensors=tensor_refs(shapes_of(task, size, inner)),
        norm_eps=1e-5 if task == 'cls' else 1e-3,
        keypoint_shape=(17, 3) if task == 'pose' else None,
        inner=inner,
    )


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(('task', 'size'), each_of_both(['det', 'seg', 'pose', 'obb', 'cls'], 'nsmlx'))
def test_every_size_of_every_task_is_recognised(task, size):
    config = CONFIGS / 'yolo11' / f'{task}_{DATASETS[task]}.py'
    found = model_of(task, size, INNER[size])
    scale = found.find_scale(config)
    assert scale.letter == size
    description = found.describe(scale, config)
    as_theirs = {} if task == 'cls' else {'prefilter_above': None}
    assert description.options == {**({} if size == 'n' else {'size': size}), **as_theirs}
    with without_memory():
        model = DETECTORS.build(description.config['model'])
    assert len(found.match(model.state_dict())) == len(found.tensors)


def test_blocks_of_another_size_are_an_option():
    config = CONFIGS / 'yolo11' / 'det_coco.py'
    found = model_of('det', 'n', 'c3k')
    scale = found.find_scale(config)
    description = found.describe(scale, config)
    assert scale.letter is None and description.options['inner'] == 'c3k' and 'size' not in description.options
    with without_memory():
        model = DETECTORS.build(description.config['model'])
    assert len(found.match(model.state_dict())) == len(found.tensors)


# The blocks of a size are the same in every task.
@pytest.mark.parametrize(
    ('task', 'size'),
    [
        slow_unless(size == 'n' or task == 'det', task, size)
        for task in ('det', 'seg', 'pose', 'obb', 'cls')
        for size in 'nm'
    ],
)
def test_names_go_there_and_back(task, size):
    keys = yolo11_keys(task, INNER[size])
    for name in shapes_of(task, size, INNER[size]):
        assert keys.to_theirs(keys.to_detkit(name)) == name
    assert task == 'cls' or keys.to_detkit('model.23.dfl.conv.weight') is None


def test_the_missing_activation_of_some_releases_is_kept(layouts, tmp_path):
    layout = copy.deepcopy(layouts['det_n'])
    found = {}
    for name in ('with', 'without'):
        source = write_pt(tmp_path / f'{name}.pt', layout, 'det', seeded_tensors(layout, SEED))
        checkpoint, report = converted(convert_ultralytics, source)
        model = init_detector(None, source.with_suffix('.pth'), 'cpu', fuse=False)
        found[name] = model.neck[0].in_conv.act
        assert ('with other classes, pooling' in report) == (name == 'without')
        layout.append(['model.9.cv1.act', IDENTITY, {}, {}, {}])
    assert isinstance(found['with'], torch.nn.SiLU) and isinstance(found['without'], torch.nn.Identity)


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (rename('model.10', 'ultralytics.nn.modules.block.C2fPSA'), 'layer 10 is a C2fPSA, where YOLO11 has C2PSA'),
        (set_attribute('model.10.m.0.attn', 'num_heads', 4), 'model.10.m.0.attn has 4 heads'),
        (set_attribute('model.2.m.0', 'add', False), 'model.2.m.0 (Bottleneck) has add False'),
        (set_attribute('model.9', 'add', True), 'model.9 (SPPF) has add True, where YOLO11 has False'),
        (rename('model.10.m.0.attn.qkv.act', 'torch.nn.modules.activation.SiLU'), 'SiLU, where YOLO11 has Identity'),
    ],
)
def test_another_model_is_one_clear_sentence(layouts, tmp_path, change, expected):
    layout = copy.deepcopy(layouts['det_n'])
    change(layout, None)
    source = write_pt(tmp_path / 'in.pt', layout, 'det', seeded_tensors(layout, SEED))
    message = error_of(convert_ultralytics, source)
    assert expected in message and '\n' not in message
