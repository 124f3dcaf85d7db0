"""A model without a checkpoint gets its class names from the data of its config."""

from pathlib import Path

import pytest
from builders import CONFIGS

from detkit.inference import init_detector
from detkit.inference.model import untrained_model
from detkit.utils.errors import ConfigError

CUSTOM = CONFIGS / 'yolov8' / 'det_custom.py'


def options(folder: Path) -> list[str]:
    (folder / 'data.yaml').write_text('train: .\nval: .\nnames: [bolt, nut, disc]\nkpt_shape: [4, 3]\n')
    return [f'data_yaml={folder}/data.yaml', 'img_size=64']


def test_names_of_a_data_yaml(tmp_path):
    model = init_detector(CUSTOM, None, 'cpu', options=options(tmp_path))
    assert model.info.classes == ('bolt', 'nut', 'disc') and model.head.num_classes == 3


def test_names_of_folders(tmp_path):
    for name in ('cat', 'dog'):
        (tmp_path / 'train' / name).mkdir(parents=True)
    model = init_detector(CUSTOM.with_name('cls_custom.py'), None, 'cpu', options=[f'data_root={tmp_path}'])
    assert model.info.classes == ('cat', 'dog')


def test_one_class_for_all(tmp_path):
    single = '+train_dataloader.dataset.single_class=True', '+val_dataloader.dataset.single_class=True'
    single += ('+test_dataloader.dataset.single_class=True',)
    model = init_detector(CUSTOM.with_name('det_coco.py'), None, 'cpu', options=['img_size=64', *single])
    assert model.info.classes == ('object',) and model.head.num_classes == 1


def test_keypoints_of_the_data(tmp_path):
    model = init_detector(CUSTOM.with_name('pose_custom.py'), None, 'cpu', options=options(tmp_path))
    assert model.head.keypoint_shape == (4, 3) and model.info.classes == ('bolt', 'nut', 'disc')


def test_data_that_are_not_there(tmp_path):
    given = [f'data_yaml={tmp_path}/none.yaml', 'img_size=64']
    with pytest.raises(ConfigError, match=r'class names are unknown: there is no data_yaml .*none.yaml.*a checkpoint'):
        init_detector(CUSTOM, None, 'cpu', options=given)


def test_the_config_of_the_model_is_left_alone(tmp_path):
    from detkit.config import load_config

    config = load_config(CUSTOM, options(tmp_path))
    del config.model.head['num_classes']
    assert untrained_model(config).head.num_classes == 3 and 'num_classes' not in config.model.head
