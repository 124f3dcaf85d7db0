"""What differs between two configs, and how it is written."""

from mmengine.config import Config

from detkit.config import load_config_with_origins
from detkit.config.difference import ABSENT, config_differences, difference_lines


def found(first, second):
    return [tuple(difference[:3]) for difference in config_differences(Config(first), Config(second))]


def test_values_are_compared_key_by_key_and_place_by_place():
    first = dict(lr=0.1, model=dict(width=1, depth=2), sizes=[1, 2], names=('a', 'b'), old=3)
    second = dict(lr=0.1, model=dict(width=4, depth=2), sizes=[1, 5], names=('a',), new=dict(x=1))
    assert found(first, second) == [
        ('model.width', 1, 4),
        ('sizes.1', 2, 5),
        ('names', ('a', 'b'), ('a',)),
        ('old', 3, ABSENT),
        ('new', ABSENT, {'x': 1}),
    ]
    assert found(first, first) == []


def test_a_transform_more_is_one_difference():
    load, flip, pack = dict(type='Load'), dict(type='Flip', prob=0.5), dict(type='Pack')
    crop = dict(type='Crop', size=3)
    assert found(dict(pipeline=[load, flip, pack]), dict(pipeline=[load, crop, {**flip, 'prob': 0.1}, pack])) == [
        ('pipeline.1', ABSENT, crop),
        ('pipeline.1.prob', 0.5, 0.1),
    ]
    assert found(dict(pipeline=[load, crop, pack]), dict(pipeline=[load, pack])) == [('pipeline.1', crop, ABSENT)]
    assert found(dict(pipeline=[load, crop]), dict(pipeline=[load, flip])) == [
        ('pipeline.1', crop, ABSENT),
        ('pipeline.1', ABSENT, flip),
    ]


def test_lines_name_the_places(repo, tmp_path):
    wider = tmp_path / 'wider.py'
    wider.write_text(
        f'_base_ = {str(repo / "configs/yolov8/det_n_coco8.py")!r}\nmodel = dict(backbone=dict(widen_factor=0.5))\n'
    )
    configs = [
        load_config_with_origins(path, need_classes=False) for path in (repo / 'configs/yolov8/det_n_coco8.py', wider)
    ]
    (first, origins), (second, other_origins) = configs
    lines = list(difference_lines(config_differences(first, second), ('A', 'B'), (origins, other_origins)))
    place = lines.index('model.backbone.widen_factor')
    assert lines[place + 1].split('#')[0].split() == ['A', '0.25'] and 'models/yolov8_det.py:' in lines[place + 1]
    assert lines[place + 2].split('#')[0].split() == ['B', '0.5'] and 'wider.py:' in lines[place + 2]


def test_a_long_list_is_shortened():
    classes = tuple(f'class {number}' for number in range(80))
    config = Config(dict(dataset=dict(metainfo=dict(classes=classes), lr=0.5)))
    text = '\n'.join(difference_lines(config_differences(Config(dict()), config), ('first', 'second')))
    assert text == (
        "dataset\n  first   (absent)\n  second  {'metainfo': {'classes': ('class 0', 'class 1', ... 80 in "
        "all)}, 'lr': 0.5}"
    )
