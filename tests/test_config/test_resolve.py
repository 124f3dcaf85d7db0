"""A loaded config as text: what it keeps, and that it loads to the same."""

import copy
import pickle
from pathlib import Path

import pytest

from detkit.config import LoadedConfig, literal_text, load_config, resolved_text
from detkit.config.keys import TOP_LEVEL_KEYS

ROOT = """
ratio, rate = 0.5, 0.25
pair = (3, 4)
_first, second = pair
_hidden = 7
size = 640
names = ['a', *('b', 'c')]
def helper(x): return x + 1
train_cfg = dict(max_epochs=size // 64, val_interval=helper(1))
randomness = dict(seed=_hidden)
env_cfg = dict(timeout=float(second))
find_unused_parameters = size > 3 and ratio > rate
classes = tuple(name for name in names)
"""


def rewritten(tmp_path: Path, config: LoadedConfig, name: str = 'again') -> Path:
    path = tmp_path / f'{name}.py'
    path.write_text(resolved_text(config))
    return path


def keys_of(config: LoadedConfig) -> dict:
    return {key: config[key] for key in config if key in TOP_LEVEL_KEYS}


def test_variables_stay_where_they_give_the_value(tmp_path):
    (tmp_path / 'root.py').write_text(ROOT)
    config = load_config(tmp_path / 'root.py')
    text = resolved_text(config)
    lines = text.splitlines()
    assert 'train_cfg = dict(max_epochs=size // 64, val_interval=2)' in lines
    assert 'randomness = dict(seed=7)' in lines and 'second = pair[1]' in lines
    assert "names = ['a', *('b', 'c')]" not in lines and 'first' not in text
    again = load_config(rewritten(tmp_path, config))
    assert keys_of(again) == keys_of(config)
    assert load_config(tmp_path / 'again.py', ['size=128']).train_cfg.max_epochs == 2
    assert resolved_text(again).splitlines()[1:] == lines[1:]


PRIVATE = """
size = 640
kind = 'plain'
_is_round = kind == 'round'
_steps = dict(plain=[size, size // 2], round=[size, 64])
train_cfg = dict(max_epochs=max([*_steps[kind], 64]) // 64, **(dict(val_interval=1) if _is_round else dict()))
randomness = dict(seed=_steps[kind][1])
find_unused_parameters = _is_round
"""


def test_variables_that_private_names_read_reach_the_same(tmp_path):
    (tmp_path / 'root.py').write_text(PRIVATE)
    again = rewritten(tmp_path, load_config(tmp_path / 'root.py'))
    assert '_steps' not in again.read_text() and '_is_round' not in again.read_text()
    for options in ([], ['size=128'], ['size=128', 'kind=round']):
        assert keys_of(load_config(again, options)) == keys_of(load_config(tmp_path / 'root.py', options))
    assert load_config(again, ['size=128']).randomness.seed == 64


def test_a_dict_that_takes_in_another_and_is_changed_by_a_child_follows_the_variable(tmp_path):
    (tmp_path / 'base.py').write_text(
        "kinds = dict(a=dict(max_epochs=1), b=dict(max_epochs=2, val_begin=2))\nkind = 'a'\nsettings = kinds[kind]\n"
        'train_cfg = dict(log_interval=5, **settings)\n'
    )
    (tmp_path / 'child.py').write_text("_base_ = 'base.py'\ntrain_cfg = dict(val_interval=3, log_interval=6)\n")
    again = rewritten(tmp_path, load_config(tmp_path / 'child.py'))
    for options in ([], ['kind=b']):
        assert keys_of(load_config(again, options)) == keys_of(load_config(tmp_path / 'child.py', options))
    assert load_config(again, ['kind=b']).train_cfg.val_begin == 2


def test_options_and_changes_are_in_it(tmp_path):
    (tmp_path / 'root.py').write_text(ROOT)
    config = load_config(tmp_path / 'root.py', ['size=320', 'train_cfg.val_interval=9', 'pair=(3,8)'])
    config.train_cfg.max_epochs = 77
    again = load_config(rewritten(tmp_path, config))
    assert again.train_cfg == {'max_epochs': 77, 'val_interval': 9}
    assert again.env_cfg.timeout == 8.0 and again.size == 320


def test_what_belongs_to_one_run_stays_out(tmp_path):
    (tmp_path / 'root.py').write_text("work_dir = 'here'\nresume = True\nload_from = 'a.pth'")
    config = load_config(tmp_path / 'root.py')
    assert keys_of(load_config(rewritten(tmp_path, config))) == dict(work_dir=None, resume=False, load_from='a.pth')


def test_wired_values_stay_out_and_a_literal_has_them(toy, tmp_path):
    config = load_config(toy)
    assert 'num_classes' not in resolved_text(config) and "'num_classes': 2" in literal_text(config)
    again = load_config(rewritten(tmp_path, config), {'train_dataloader.dataset.metainfo.classes': ['a', 'b', 'c']})
    assert again.model.head.num_classes == 3


@pytest.mark.parametrize('how', [copy.copy, copy.deepcopy, lambda config: pickle.loads(pickle.dumps(config))])
def test_a_copy_knows_its_origins(toy, how):
    config = load_config(toy)
    assert resolved_text(how(config)) == resolved_text(config)
