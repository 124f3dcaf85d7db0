"""A pose head's keypoints are those of the data."""

from pathlib import Path

import pytest

from detkit.config import load_config
from detkit.utils.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs' / 'yolov8'


def write_yaml(folder: Path, shape: str = '[5, 2]') -> Path:
    path = folder / 'data.yaml'
    path.write_text(f'train: images/train\nval: images/val\nnames: [cat, dog]\nkpt_shape: {shape}\n')
    return path


def test_shape_of_a_data_yaml(tmp_path):
    cfg = load_config(CONFIGS / 'pose_custom.py', dict(data_yaml=str(write_yaml(tmp_path))))
    assert cfg.model.head.keypoint_shape == (5, 2) and cfg.model.head.num_classes == 2


def test_shape_of_the_data_sets_arguments_and_the_default():
    assert load_config(CONFIGS / 'pose_n_coco8.py').model.head.keypoint_shape == (17, 3)
    assert 'keypoint_shape' not in load_config(CONFIGS / 'pose_coco.py').model.head  # no file there to ask
    assert 'keypoint_shape' not in load_config(CONFIGS / 'det_coco.py').model.head


def test_shape_of_a_coco_file(tiny_data):
    cfg = load_config(CONFIGS / 'pose_coco.py', dict(data_root=str(tiny_data / 'pose'), size='s'))
    assert cfg.model.head.keypoint_shape == (17, 3)


def test_sigmas_of_the_data():
    options = ['+train_dataloader.dataset.dataset.metainfo.sigmas=(' + '0.1,' * 17 + ')']
    cfg = load_config(CONFIGS / 'pose_n_coco8.py', options)
    assert tuple(cfg.model.head.loss_keypoint.sigmas) == (0.1,) * 17


def test_another_shape_is_an_error(tmp_path):
    options = [f'data_yaml={write_yaml(tmp_path)}', '+model.head.keypoint_shape=(17,3)']
    with pytest.raises(ConfigError, match=r'keypoint_shape is \(17, 3\), but train_dataloader .* has \(5, 2\)'):
        load_config(CONFIGS / 'pose_custom.py', options)
