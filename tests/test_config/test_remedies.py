"""Mistakes on the command line, and the remedy that their messages name."""

from pathlib import Path

import pytest

from detkit.config import load_config
from detkit.utils.errors import ConfigError
from detkit.utils.front_end import at_the_command_line


def message(path: Path, *options: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, options)
    return str(caught.value)


def test_delete_key_in_an_option(repo):
    config = repo / 'configs/yolov8/det_n_coco8.py'
    option = "model.backbone={'type': 'Darknet', '_delete_': True, 'depth': 53, 'out_indices': [3, 4, 5]}"
    assert load_config(config, [option]).model.backbone == dict(type='Darknet', depth=53, out_indices=[3, 4, 5])
    assert load_config(config, [option.replace("'_delete_': True, ", '')]).model.backbone.type == 'Darknet'
    found = message(config, 'model.backbone.type=Darknet')
    assert 'write the dict as a whole' in found and "options={'model.backbone': {'type': 'Darknet'}}." in found
    with at_the_command_line():
        assert """--cfg-options model.backbone="{'type': 'Darknet'}".""" in message(
            config, 'model.backbone.type=Darknet'
        )


def test_a_key_with_a_dot_in_it_is_not_meant(repo, tmp_path):
    """No option can name it, such as the names of modules in ``custom_keys``."""
    path = tmp_path / 'dots.py'
    base = repo / 'configs/yolov8/det_n_coco8.py'
    path.write_text(f"_base_ = {str(base)!r}\nsearch_space = {{'a.momentun': [1, 2]}}\n")
    with pytest.raises(ConfigError, match="has no key 'search_space.momentun'"):
        load_config(path, ['search_space.momentun=1'])


def test_a_key_of_another_kind_is_not_meant(repo):
    found = message(repo / 'configs/yolov5/cls_custom.py', 'size=n')
    assert "has no key 'size'" in found and 'Did you mean' not in found
    found = message(repo / 'configs/yolov5/cls_custom.py', 'size=320')
    assert "Did you mean 'train_dataloader.dataset.pipeline.1.size=320'" in found


@pytest.mark.parametrize('config', ['yolov8/obb_dota.py', 'yolov8/det_coco.py'])
def test_classes_are_named_by_their_variable(repo, tmp_path, config):
    found = message(repo / 'configs' / config, 'classes=None', f'data_root={tmp_path}')
    if 'dota' in config:
        assert 'does not say its classes' in found and found.endswith("name them: classes=['bolt', 'nut']")
    else:
        assert 'there is no ann_file' in found


def test_a_data_yaml_without_names(repo, tmp_path):
    (tmp_path / 'data.yaml').write_text('train: images\nval: images\n')
    found = message(repo / 'configs/yolov8/det_custom.py', f'data_yaml={tmp_path}/data.yaml')
    assert f"the data yaml '{tmp_path}/data.yaml' has no key names" in found


def test_annotations_that_are_not_there(repo, tmp_path):
    config, options = (
        repo / 'configs/yolov8/det_voc.py',
        ['classes=None', f'data_root={tmp_path}', 'train_splits=train'],
    )
    assert f"there is no folder '{tmp_path}/Annotations', whose files" in message(config, *options)
    (tmp_path / 'Annotations').mkdir()
    assert f"no xml in '{tmp_path}/Annotations' has an object" in message(config, *options)


def test_relative_paths_name_the_working_directory(repo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = f'(working directory {tmp_path})'
    assert where in message(repo / 'configs/yolov8/det_custom.py', 'data_yaml=mine/data.yaml')
    assert where not in message(repo / 'configs/yolov8/det_custom.py', 'data_yaml=/mine/data.yaml')
    assert where in message(repo / 'configs/yolov8/det_coco.py', 'classes=None')
    assert where in message(repo / 'configs/yolov8/cls_custom.py')
    assert where in message(repo / 'configs/yolov8/det_voc.py', 'classes=None')
