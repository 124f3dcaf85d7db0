"""Any value in any place of a config: accepted, or refused with a sentence that names the key."""

import copy
from pathlib import Path
from typing import Any

import pytest
from builders import CONFIGS
from fuzz_strategies import AMOUNTS, run_fuzz, values
from hypothesis import strategies as st

from detkit.config import check_config, load_config
from detkit.utils.errors import ConfigError

NAMES = ['LetterBox', 'Mosaic', 'YOLOv8Head', 'EMAHook', 'SGD', 'YOLODataset', 'CocoMetric', 'Stretch', 'os.system']
hostile = st.one_of(
    values,
    st.fixed_dictionaries({'type': st.sampled_from(NAMES) | values}),
    st.sampled_from([{1: 2}, {(): 1}, {'_delete_': 5}, {'type': []}, {'_scope_': 'x'}, [[]], (), b'', 1j, {1, 2}]),
)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the path of each value of nested dicts and lists."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


@pytest.fixture(scope='module')
def config() -> dict:
    return load_config(CONFIGS / 'yolov8' / 'seg_n_coco8.py', need_classes=False).to_dict()


@pytest.mark.thorough
@pytest.mark.parametrize('cases', AMOUNTS)
def test_the_check(config, cases):
    shallow = [path for path in places(config) if len(path) <= 2]

    def check(drawn: tuple[tuple, Any]) -> None:
        (*parents, last), change = drawn
        changed = node = copy.deepcopy(config)
        for key in parents:
            node = node[key]
        node[last] = change
        check_config(changed)

    run_fuzz(cases, st.tuples(st.sampled_from(places(config)) | st.sampled_from(shallow), hostile), check)


BODIES = [
    'train_dataloader = 5',
    'train_dataloader = [1]',
    'model = dict()\nmodel["head"] = model',
    'a = []\na.append(a)\nmodel = dict(neck=a)',
    'a = dict()\na["a"] = (a,)\ntrain_cfg = a',
    'a = 0\nfor _ in range(5000):\n    a = [a]\nmodel = dict(neck=a)',
    'train_cfg = dict(max_epochs=10**400)',
    'img_size = 10**400',
    'model = dict(neck=(i for i in range(3)))',
    'model = {1: 2}',
    '1 / 0',
    'def f(): return f()\nx = f()',
    'data_root = b"x"',
    'randomness = 5',
    '_base_ = 5',
    '_base_ = [5]',
    'custom_imports = 5',
    'custom_imports = dict(imports=[5])',
]


@pytest.mark.parametrize('body', BODIES)
def test_a_file_is_refused(tmp_path, body):
    base = '' if body.startswith('_base_') else f'_base_ = {str(CONFIGS / "yolov8" / "seg_n_coco8.py")!r}\n'
    Path(tmp_path / 'x.py').write_text(f'{base}{body}\n')
    with pytest.raises(ConfigError, match=r'x\.py'):
        load_config(tmp_path / 'x.py', need_classes=False)
