"""Conversion of YOLO26's files: sizes, names, and fine-tuning from one."""

import copy
from pathlib import Path

import pytest
import torch
from builders import CONFIGS, model_config
from conversions import converted, tensor_refs
from coverings import slow_unless
from pickled_files import CLASSES, SEED, rename, set_attribute
from ultralytics_files import read_recorded, refusal_of, seeded_tensors, write_pt

from detkit.converters.ultralytics import convert_ultralytics
from detkit.converters.ultralytics_keys import yolo26_keys
from detkit.converters.ultralytics_models import YOLO26Model
from detkit.engine import load_weights
from detkit.registry import DETECTORS
from detkit.utils.without_memory import without_memory

INNER = {'n': 'bottleneck', 's': 'bottleneck', 'm': 'c3k', 'l': 'c3k', 'x': 'c3k'}
CONFIG = CONFIGS / 'yolo26' / 'det_coco.py'


@pytest.fixture(scope='module')
def layout() -> list:
    return read_recorded('yolo26')['layouts']['det_n']


def shapes_of(size: str, task: str = 'det') -> dict[str, tuple[int, ...]]:
    with without_memory():
        state = DETECTORS.build(model_config(f'yolo26_{task}', 7, size=size)).state_dict()
    return {yolo26_keys(task, INNER[size]).to_theirs(name): tuple(value.shape) for name, value in state.items()}


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('size', INNER)
def test_every_size_is_recognised(size):
    found = YOLO26Model(
        path=Path('x.pt'), classes=tuple('abcdefg'), tensors=tensor_refs(shapes_of(size)), inner=INNER[size]
    )
    scale = found.find_scale(CONFIG)
    assert scale.letter == size
    description = found.describe(scale, CONFIG)
    assert description.options == {**({} if size == 'n' else {'size': size}), 'prefilter_above': None}
    with without_memory():
        model = DETECTORS.build(description.config['model'])
    assert len(found.match(model.state_dict())) == len(found.tensors)


# The blocks of a size are the same in every task.
@pytest.mark.parametrize(
    ('size', 'task'),
    [
        slow_unless(size == 'n' or task == 'det', size, task)
        for size in 'nm'
        for task in ('det', 'seg', 'pose', 'obb', 'cls')
    ],
)
def test_names_go_there_and_back(size, task):
    keys = yolo26_keys(task, INNER[size])
    for name in shapes_of(size, task):
        assert keys.to_theirs(keys.to_detkit(name)) == name


@pytest.mark.parametrize('size', ['n', 'm'])
def test_names_are_those_of_the_reference(size):
    recorded = read_recorded('yolo26')['layouts'][f'det_{size}']
    names = {f'{module}.{name}' for module, _, _, *tables in recorded for table in tables for name in table}
    assert names == set(shapes_of(size))


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (rename('model.10', 'ultralytics.nn.modules.block.C2fPSA'), 'layer 10 is a C2fPSA, where YOLO26 has C2PSA'),
        (set_attribute('model.22.m.0.1.attn', 'num_heads', 4), 'model.22.m.0.1.attn has 4 heads'),
        (set_attribute('model.9', 'n', 4), 'model.9 (SPPF) has n 4, where YOLO26 has 3'),
        (set_attribute('model.23', 'reg_max', 16), 'model.23 (Detect) has reg_max 16, where YOLO26 has 1'),
        (rename('model.9.cv1.act', 'torch.nn.modules.activation.SiLU'), 'SiLU, where YOLO26 has Identity'),
    ],
)
def test_another_model_is_one_clear_sentence(layout, tmp_path, change, expected):
    layout = copy.deepcopy(layout)
    change(layout, None)
    assert expected in refusal_of(layout, tmp_path)


def test_a_file_without_one_to_one_branches_is_refused(layout, tmp_path):
    layout = [row for row in layout if '.one2one_' not in row[0]]
    assert 'without one-to-one branches (end2end=False)' in refusal_of(layout, tmp_path)


def test_fine_tuning_with_another_number_of_classes(layout, tmp_path):
    """Classes of the same name keep their weights in both kinds of branches; all other weights are the file's."""
    source = write_pt(tmp_path / 'in.pt', layout, 'det', seeded_tensors(layout, SEED))
    checkpoint, report = converted(convert_ultralytics, source)
    assert 'YOLO26n detection' in report
    model = DETECTORS.build(model_config('yolo26_det', 5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    classes = ('v', CLASSES[2], 'x', 'y', 'z')
    load_weights(model, checkpoint, classes=classes)
    of_classes = []
    for name, value in model.state_dict().items():
        expected = checkpoint['state_dict'][name]
        if value.shape == expected.shape:
            assert torch.equal(value, expected), name
        else:
            of_classes.append(name)
            assert torch.equal(value[1], expected[2]), name
            assert torch.equal(value[[0, 2, 3, 4]], before[name][[0, 2, 3, 4]]), name
    assert len(of_classes) == 2 * 3 * 2 and sum('one_to_one' in name for name in of_classes) == 3 * 2
