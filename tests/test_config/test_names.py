"""Configs by their names."""

import shutil
from pathlib import Path

import pytest

from detkit.config import config_names, configs_folder, find_config, load_config, resolved_text
from detkit.utils.errors import ConfigError


def test_every_config_has_a_name(repo):
    paths = {
        path.relative_to(repo / 'configs') for path in (repo / 'configs').rglob('*.py') if '_base_' not in path.parts
    }
    assert config_names() == sorted(path.with_suffix('').as_posix() for path in paths)
    assert all(find_config(name) == configs_folder() / f'{name}.py' for name in config_names())


@pytest.mark.parametrize(
    'name',
    [
        'yolov8/seg_n_coco8',
        'yolov8/seg_n_coco8.py',
        'configs/yolov8/seg_n_coco8.py',
        './configs/yolov8/seg_n_coco8.py',
        'detkit::yolov8/seg_n_coco8',
        'detkit::yolov8/seg_n_coco8.py',
        Path('yolov8/seg_n_coco8'),
    ],
)
def test_ways_to_write_a_name(name, repo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name).samefile(repo / 'configs/yolov8/seg_n_coco8.py')


def test_a_size_in_a_name_needs_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config('yolov8/det_m_coco', need_classes=False).size == 'm'
    with pytest.raises(ConfigError, match='det_q_coco.py. det_coco.py has the sizes n, s, m, l, x'):
        load_config('yolov8/det_q_coco')


def test_a_file_that_exists_wins_unless_the_scheme_says_otherwise(repo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'yolov8').mkdir()
    own = tmp_path / 'yolov8' / 'seg_n_coco8.py'
    own.write_text('max_epochs = 1')
    assert find_config('yolov8/seg_n_coco8.py').samefile(own)
    assert find_config('detkit::yolov8/seg_n_coco8.py').samefile(repo / 'configs/yolov8/seg_n_coco8.py')


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        ('yolov8/seg_n_coc8', "Did you mean 'yolov8/seg_n_coco8'"),
        ('seg_n_coco8', r"Did you mean 'dfine/seg_n_coco8' or 'yolov8/seg_n_coco8' or 'yolo26/seg_n_coco8'\?$"),
        ('detkit::yolov8/seg_n_coc8', "detkit::yolov8/seg_n_coc8. Did you mean 'yolov8/seg_n_coco8'"),
        ('mine.py', "Did you mean 'mined.py'"),
        ('xxxxxx', "'detkit configs' lists"),
        ('../configs/yolov8', 'Did you mean'),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mined.py').touch()
    with pytest.raises(ConfigError, match=f'there is no config .*{hint}'):
        find_config(name)


@pytest.mark.parametrize('base', ['detkit::yolov8/det_n_coco8', 'detkit::yolov8/det_n_coco8.py'])
def test_a_config_inherits_from_one_by_name(base, repo, tmp_path):
    (tmp_path / 'mine.py').write_text(f"_base_ = '{base}'\nmax_epochs = 7\n")
    config = load_config(tmp_path / 'mine.py', need_classes=False)
    expected = load_config(repo / 'configs/yolov8/det_n_coco8.py', {'max_epochs': 7}, need_classes=False)
    assert config.to_dict() == expected.to_dict()


def test_a_base_of_the_list_may_be_a_name(tmp_path):
    names = ['models/yolov8_det', 'datasets/coco8', 'schedules/yolov8_coco8', 'default_runtime']
    (tmp_path / 'mine.py').write_text(f"_base_ = {[f'detkit::_base_/{name}.py' for name in names]}\ntask = 'det'\n")
    expected = load_config('yolov8/det_n_coco8', need_classes=False)
    assert load_config(tmp_path / 'mine.py', need_classes=False).to_dict() == expected.to_dict()


@pytest.mark.parametrize(
    ('base', 'hint'),
    [
        ('detkit::yolov8/det_n_cco8', 'detkit::yolov8/det_n_coco8'),
        ('detkit:yolov8/det_n_coco8', 'detkit::yolov8/det_n_coco8'),
        ('detkit/configs/yolov8/det_n_coco8.py', 'detkit::yolov8/det_n_coco8'),
        (
            'mmdet::_base_/models/faster_rcnn_r50_fpn.py',
            r"detkit::_base_/models/faster_rcnn\w*' or .*/faster_rcnn",
        ),
        ('../_base_/models/retinanet_r50_fpn.py', r"detkit::_base_/models/retinanet\w*' or .*/retinanet"),
        ('../_base_/schedules/schedule_1x.py', 'detkit::_base_/schedules/schedule_1x'),
        ('detkit::_base_/datasets/coc', 'detkit::_base_/datasets/coco'),
    ],
)
def test_a_base_that_there_is_not_is_refused_with_what_to_write(base, hint, tmp_path):
    (tmp_path / 'mine.py').write_text(f"_base_ = '{base}'\n")
    with pytest.raises(ConfigError, match=rf"a base of .*mine.py\).*Did you mean '{hint}'"):
        load_config(tmp_path / 'mine.py')


def test_a_resolved_config_needs_no_folder_of_configs(tmp_path, monkeypatch):
    """A run's config.py is loaded where detkit is installed elsewhere, or not with its configs."""
    shutil.copytree(configs_folder(), tmp_path / 'there')
    monkeypatch.setattr('detkit.config.names.configs_folder', lambda: tmp_path / 'there')
    config = load_config('yolov8/seg_n_coco8', need_classes=False)
    assert str(tmp_path) in config.filename
    text = resolved_text(config)
    assert 'there' not in text.split('\n', 1)[1]
    shutil.rmtree(tmp_path / 'there')
    (tmp_path / 'config.py').write_text(text)
    assert load_config(tmp_path / 'config.py', need_classes=False).model == config.model


def test_a_name_that_no_file_can_have():
    for name in ('a' * 5000, 'detkit::' + 'a' * 5000, 'a' * 5000 + '.py'):
        with pytest.raises(ConfigError, match='characters is too long for the path of a file'):
            find_config(name)
