"""Conversion of YOLOv10's files: sizes, names, and what is refused."""

import copy
from pathlib import Path

import pytest
from builders import CONFIGS, model_config
from conversions import converted, tensor_refs
from pickled_files import SEED, rename, set_attribute
from ultralytics_files import read_recorded, refusal_of, seeded_tensors, write_pt

from detkit.config import load_config
from detkit.converters.ultralytics import convert_ultralytics
from detkit.converters.ultralytics_keys import yolov10_keys
from detkit.converters.ultralytics_models import YOLOv10Model
from detkit.registry import DETECTORS
from detkit.utils.without_memory import without_memory

KEYS = yolov10_keys()
CONFIG = CONFIGS / 'yolov10' / 'det_coco.py'
SIZES = load_config(CONFIG)['sizes']


@pytest.fixture(scope='module')
def layout() -> list:
    return read_recorded('yolov10')['layouts']['det_n']


def shapes_of(**options) -> dict[str, tuple[int, ...]]:
    with without_memory():
        state = DETECTORS.build(model_config('yolov10_det', 7, **options)).state_dict()
    return {KEYS.to_theirs(name): tuple(value.shape) for name, value in state.items()}


def found_model(compact: tuple[str, ...], large_kernel: bool, shapes: dict) -> YOLOv10Model:
    return YOLOv10Model(
        path=Path('x.pt'),
        classes=tuple('abcdefg'),
        tensors=tensor_refs(shapes),
        compact=compact,
        large_kernel=large_kernel,
    )


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('size', SIZES)
def test_every_size_is_recognised(size):
    found = found_model(*SIZES[size][3:], shapes_of(size=size))
    scale = found.find_scale(CONFIG)
    assert scale.letter == size
    description = found.describe(scale, CONFIG)
    assert description.options == {**({} if size == 'n' else {'size': size}), 'prefilter_above': None}
    with without_memory():
        model = DETECTORS.build(description.config['model'])
    assert len(found.match(model.state_dict())) == len(found.tensors)


def test_a_size_of_its_own_has_its_blocks_as_options():
    blocks = dict(compact=('stage4', 'up'), large_kernel=True)
    found = found_model(**blocks, shapes=shapes_of(size='s', **blocks))
    scale = found.find_scale(CONFIG)
    description = found.describe(scale, CONFIG)
    assert scale.letter is None and description.options.items() >= blocks.items()
    with without_memory():
        model = DETECTORS.build(description.config['model'])
    assert len(found.match(model.state_dict())) == len(found.tensors)


@pytest.mark.parametrize('size', ['n', 'm'])
def test_names_are_those_of_the_reference_there_and_back(size):
    recorded = read_recorded('yolov10')['layouts'][f'det_{size}']
    names = {f'{module}.{name}' for module, _, _, *tables in recorded for table in tables for name in table}
    weights = {name for name in names if '.dfl.' not in name}
    assert weights == set(shapes_of(size=size)) == {KEYS.to_theirs(KEYS.to_detkit(name)) for name in weights}
    assert names - weights and all(KEYS.to_detkit(name) is None for name in names - weights)


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (rename('model.10', 'ultralytics.nn.modules.block.C2fPSA'), 'layer 10 is a C2fPSA, where YOLOv10 has PSA'),
        (rename('model.4', 'ultralytics.nn.modules.block.C2fCIB'), 'layer 4 is a C2fCIB, where YOLOv10 has C2f'),
        (rename('model.23', 'ultralytics.nn.modules.head.Detect'), 'layer 23 is a Detect, where YOLOv10 has v10Detect'),
        (set_attribute('model.22.m.0', 'add', False), 'model.22.m.0 (CIB) has add False, where YOLOv10 has True'),
        (set_attribute('model.10.attn', 'num_heads', 4), 'model.10.attn has 4 heads'),
        (rename('model.5.cv2.act', 'torch.nn.modules.activation.SiLU'), 'SiLU, where YOLOv10 has Identity'),
    ],
)
def test_another_model_is_one_clear_sentence(layout, tmp_path, change, expected):
    layout = copy.deepcopy(layout)
    change(layout, None)
    assert expected in refusal_of(layout, tmp_path)


def test_a_file_without_one_to_one_branches_is_refused(layout, tmp_path):
    layout = [row for row in layout if '.one2one_' not in row[0]]
    assert 'is a YOLOv10 that was trained without one-to-one branches' in refusal_of(layout, tmp_path)


def test_the_report_names_the_family_and_its_config(layout, tmp_path):
    source = write_pt(tmp_path / 'in.pt', layout, 'det', seeded_tensors(layout, SEED))
    checkpoint, report = converted(convert_ultralytics, source)
    assert 'YOLOv10n detection' in report and 'det_custom' in report
    assert checkpoint['state_dict']['neck.2.down_blocks.1.blocks.0.2.branch7.conv.weight'].shape[-2:] == (7, 7)
