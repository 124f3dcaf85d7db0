"""A head that weighs its losses by the images' size follows the config's."""

from pathlib import Path

from detkit.config import load_config

CONFIGS = Path(__file__).parents[2] / 'configs'


def test_the_size_of_the_config_reaches_the_head():
    assert load_config(CONFIGS / 'yolov5' / 'det_n_coco8.py').model.head.img_size == 640
    assert load_config(CONFIGS / 'yolov3' / 'det_coco.py', dict(img_size=320)).model.head.img_size == 320


def test_what_is_given_stays():
    options = ['+model.head.img_size=512', 'img_size=320']
    assert load_config(CONFIGS / 'yolov5' / 'det_n_coco8.py', options).model.head.img_size == 512
    assert load_config(CONFIGS / 'yolov5' / 'det_n_coco8.py', ['+model.head.img_size=None']).model.head.img_size is None


def test_other_heads_are_left_alone():
    assert 'img_size' not in load_config(CONFIGS / 'yolov8' / 'det_n_coco8.py').model.head
