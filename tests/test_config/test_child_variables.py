"""A variable that a child file assigns again reaches all that its bases build from it."""

from pathlib import Path

import pytest

from detkit.config import load_config, load_config_with_origins
from detkit.config.execute import execute
from detkit.utils.errors import ConfigError

ROOT = """
size = 640
names = ('a', 'b')
render = dict(min_area=4, keep=True)
half = size // 2
pipeline = [dict(size=size), dict(render)]
loader = dict(pipeline=pipeline, names=names, half=half)
"""


def run(folder: Path, **files: str) -> dict:
    """Write the files, each ``root`` or ``_base_ = ...``, and return the values of the last."""
    for name, text in files.items():
        (folder / f'{name}.py').write_text(text)
    return execute(folder / f'{name}.py', {}).values


@pytest.mark.parametrize(
    'own, expected',
    [
        ('size = 320', dict(pipeline=[{'size': 320}, {'min_area': 4, 'keep': True}], half=160)),
        ('size: int = 320', dict(half=160)),
        ('size, other = 320, 1', dict(half=160)),
        ('for size in (320,): pass', dict(half=160)),
        ('from math import pi as size', dict(half=1.0)),
        ('size = _base_.size * 2', dict(pipeline=[{'size': 1280}, {'min_area': 4, 'keep': True}], half=640)),
        ("size = _base_['size'] * 2", dict(half=640)),
        ('size = {{_base_.size}} * 2', dict(half=640)),
        ('old = _base_.size\nsize = old * 2', dict(half=640)),
        ('half = _base_.half - 20\nsize = 100', dict(half=30)),
        ("names = ('c',)", dict(names=('c',))),
        ("names = (*_base_.names, 'c')", dict(names=('a', 'b', 'c'))),
        ('render = dict(min_area=9)', dict(pipeline=[{'size': 640}, {'min_area': 9, 'keep': True}])),
        ('render = dict(_delete_=True, x=1)', dict(pipeline=[{'size': 640}, {'x': 1}])),
        (
            'pipeline = [dict(size=1), *_base_.pipeline]',
            dict(pipeline=[{'size': 1}, {'size': 640}, {'min_area': 4, 'keep': True}]),
        ),
        ('loader = dict(half=7)', dict(half=7)),
        ('size = 320\nloader = dict(half=_base_.size)', dict(half=320)),
        ('size = 320\nloader = dict(half=_base_.half + 1)', dict(half=161)),
    ],
)
def test_it_reaches_the_base(tmp_path, own, expected):
    loader = run(tmp_path, root=ROOT, child=f"_base_ = 'root.py'\n{own}")['loader']
    assert {key: loader[key] for key in expected} == expected


def test_an_imported_name_is_no_setting(tmp_path):
    text = 'import math\nfrom detkit.datasets.class_names import VOC20\nclasses = VOC20[:2]\nwhole = math.floor(2.5)'
    assert run(tmp_path, child=text) == {'classes': ('aeroplane', 'bicycle'), 'whole': 2}


def test_it_reaches_through_several_levels(tmp_path):
    values = run(
        tmp_path,
        root=ROOT,
        middle="_base_ = 'root.py'\nsize = _base_.size // 4\nlast = dict(size=_base_.size)",
        child="_base_ = 'middle.py'\nsize = _base_.size + 1",
    )
    assert values['size'] == 161 and values['loader']['half'] == 80 and values['last'] == {'size': 161}


def test_a_list_grows_by_a_level_at_a_time(tmp_path):
    values = run(
        tmp_path,
        root=ROOT,
        middle="_base_ = 'root.py'\npipeline = [*_base_.pipeline, 1]",
        child="_base_ = 'middle.py'\npipeline = [*_base_.pipeline, 2]",
    )
    assert values['loader']['pipeline'] == [{'size': 640}, {'min_area': 4, 'keep': True}, 1, 2]


def test_it_reaches_every_one_of_several_bases(tmp_path):
    values = run(
        tmp_path,
        one='size = 1\na = size + 1',
        two='size = 2\nb = size + 2',
        child="_base_ = ['one.py', 'two.py']\nsize = 10",
    )
    assert (values['a'], values['b']) == (11, 12)


def test_a_component_is_merged_and_nothing_follows_from_it(tmp_path):
    values = run(
        tmp_path,
        root='val_evaluator = dict(metric=1)\ntest_evaluator = val_evaluator',
        child="_base_ = 'root.py'\nval_evaluator = dict(metric=2)",
    )
    assert values == {'val_evaluator': {'metric': 2}, 'test_evaluator': {'metric': 1}}


def test_an_option_wins_over_a_file(tmp_path):
    run(tmp_path, root=ROOT, child="_base_ = 'root.py'\nsize = 320")
    values = execute(tmp_path / 'child.py', {'size': 64}).values
    assert values['size'] == 64 and values['loader']['half'] == 32


def test_a_size_that_the_table_lacks(tmp_path):
    root = 'SIZES = dict(n=1, s=2)\nsize = "n"\ndepth = SIZES[size]'
    expected = r"child.py:2: size is 'q', but must be one of n, s, which .*root.py:3 chooses from"
    with pytest.raises(ConfigError, match=expected):
        run(tmp_path, root=root, child="_base_ = 'root.py'\nsize = 'q'")


def test_values_that_wait_for_each_other(tmp_path):
    with pytest.raises(ConfigError, match=r'child.py:2: a is computed from a value of the bases'):
        run(tmp_path, root='a = 1\nb = a * 2', child="_base_ = 'root.py'\na = _base_.b + 1")


def test_origins_name_the_line_and_who_changed_it(tmp_path):
    run(tmp_path, root=ROOT, child="_base_ = 'root.py'\nsize = 320\nnames = (\n    'x',\n    'y')")
    origins = execute(tmp_path / 'child.py', {}).origins

    def place(*path):
        origin = origins.find(path)
        return origin.file.name, origin.line

    assert place('size') == ('child.py', 2)
    assert place('loader', 'half') == ('root.py', 7)
    assert str(origins.find(('half',))).endswith(f'(size changed by {tmp_path / "child.py"}:2)')
    assert origins.find(('loader', 'pipeline', 1, 'keep')).changed_by is None


def test_a_published_config_follows(tmp_path):
    path = tmp_path / 'mine.py'
    base = Path('configs/yolov8/det_n_coco8.py').resolve()
    path.write_text(
        f'_base_ = {str(base)!r}\nimg_size = 320\nmosaic_prob = 0.\nmax_epochs = 14\nbatch_size = 8\nflip_prob = 0.25\n'
    )
    config, origins = load_config_with_origins(path)
    by_option = load_config(base, dict(img_size=320, mosaic_prob=0.0, max_epochs=14, batch_size=8, flip_prob=0.25))
    assert config.to_dict() == by_option.to_dict()
    assert config.train_cfg.max_epochs == 14 and config.train_dataloader.batch_size == 8
    assert str(origins.find(('train_cfg', 'max_epochs'))).endswith(f'(max_epochs changed by {path}:4)')
