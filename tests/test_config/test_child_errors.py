"""A mistake of a child config is an error that names the child's file and line, whatever its bases make of it."""

from pathlib import Path

import pytest
import torch

from detkit.config import load_config, located
from detkit.engine.finetune import freeze_modules
from detkit.registry import DETECTORS
from detkit.utils.errors import ConfigError

DET, SEG = 'configs/yolov8/det_n_coco8.py', 'configs/yolov8/seg_n_coco8.py'
CLS, OBB = 'configs/yolov8/cls_n_weather.py', 'configs/yolov8/obb_n_dota8.py'
DETR = 'configs/detr/det_r18_coco8.py'


def error_of(folder: Path, base: str, text: str) -> str:
    """Return the error of a child of ``base`` whose second line on is ``text``."""
    path = folder / 'mine.py'
    path.write_text(f'_base_ = {str(Path(base).resolve())!r}\n{text}\n')
    with pytest.raises(ConfigError) as error:
        load_config(path)
    return str(error.value)


@pytest.mark.parametrize(
    'text, sentence',
    [
        ('def img_size(): return 64', "nothing reads 'img_size'. Functions, imports and"),
        ('_img_size = 64', "nothing reads '_img_size'. .* Did you mean 'img_size'"),
        ('import math', "nothing reads 'math'. .* custom_imports"),
        ('class Size: pass', "nothing reads 'Size'"),
        ('from math import *', 'import \\* sets names that nobody has written'),
        ('from math import pi as turn', "nothing reads the top-level name 'turn'"),
        ('x = 3', "nothing reads the top-level name 'x'.$"),
        ("data_yaml = 'mine.yaml'", '.*data_yaml.py reads it; take that file as a base'),
    ],
)
def test_what_nothing_reads(tmp_path, text, sentence):
    with pytest.raises(ConfigError, match=f'mine.py:2: {sentence}'):
        raise ConfigError(error_of(tmp_path, SEG, text))


def test_what_the_file_itself_reads(tmp_path):
    path = tmp_path / 'mine.py'
    text = 'import math\ndef double(x): return 2 * x\n_half = math.floor(32.5)\nfor _ in range(1): pass\n'
    path.write_text(f'_base_ = {str(Path(SEG).resolve())!r}\n{text}img_size = double(_half)')
    assert load_config(path).train_dataloader.dataset.dataset.pipeline[1].size == 64


@pytest.mark.parametrize(
    'base, text, sentence',
    [
        (SEG, 'sizes = dict(n=dict(depth=1))', 'sizes.n is a dict, but .*yolov8_sizes.py:5 sets it to a tuple; write'),
        (SEG, "sizes = _base_.sizes\nsizes['n'][0] = 1", 'Values of the bases are not changed in place'),
        (SEG, "sizes = _base_.sizes\nsizes['n'] = (1, 1, 1)", 'mine.py:3 changes _base_ in place, which has no effect'),
        (SEG, 'img_size = _base_.img_sise', "_base_ has no 'img_sise'; it has img_size, .*. Did you mean 'img_size'?"),
        (SEG, "img_size = _base_['img_sise']", "_base_ has no 'img_sise'; it has img_size"),
        (SEG, 'depth = _base_.model.bakbone.depth', "_base_.model has no 'bakbone'; it has backbone, "),
        (SEG, 'img_size = _base_.nosuch', "_base_ has no 'nosuch'; it has .* more"),
        (SEG, "scale = float('nan')", 'mine.py:2: scale is nan'),
        (SEG, 'optim_wrapper = dict(\n    optimizer=dict(lr=float("nan")))', ':3: optim_wrapper.optimizer.lr is nan'),
        (SEG, "size = ['n']", r"mine.py:2: size is \['n'\], but must be one of n, s, m, l, x, which .* chooses from"),
        (SEG, "task = 'foo'", "mine.py:2: task is 'foo', but must be one of 'det', 'seg'"),
        (DET, "task = 'cls'", "mine.py:2: task is 'cls', but must be one of seg, pose, det, obb, which "),
    ],
)  # fmt: skip
def test_values_that_stop_the_files(tmp_path, base, text, sentence):
    with pytest.raises(ConfigError, match=sentence):
        raise ConfigError(error_of(tmp_path, base, text))


@pytest.mark.parametrize(
    'assigned, name, sentence',
    [
        (dict(batch_size=0), 'batch_size', 'train_dataloader.batch_size: a data loader takes batch_size at least 1'),
        (dict(max_epochs=0, batch_size=2), 'max_epochs', 'train_cfg.max_epochs: TrainLoop takes max_epochs at least'),
        (
            dict(batch_size=2, flip_prob=3),
            'flip_prob',
            r'pipeline\.\d+\.prob: RandomFlip takes prob from 0 to 1; found 3',
        ),
        (dict(img_size=50, batch_size=2), 'img_size', r'pipeline\.1\.size: 50 is no multiple of 32'),
        (dict(classes=('a', 'a'), batch_size=2), 'classes', "metainfo.classes names the class 'a' more than once"),
    ],
)
def test_an_error_of_a_variable_names_it_and_the_place_that_it_reaches(tmp_path, assigned, name, sentence):
    text = '\n'.join(f'{key} = {value!r}' for key, value in assigned.items())
    line = 2 + list(assigned).index(name)
    with pytest.raises(ConfigError, match=rf'\({name} changed by .*mine.py:{line}\): .*{sentence}'):
        raise ConfigError(error_of(tmp_path, SEG, text))
    with pytest.raises(ConfigError, match=rf'\({name} changed by an option\): .*{sentence}'):
        load_config(SEG, assigned)


def test_a_value_of_another_type_than_the_bases_compute_with(tmp_path):
    (tmp_path / 'base.py').write_text('img_size = 64\nlarger = img_size + 32\n')
    error = error_of(tmp_path, str(tmp_path / 'base.py'), 'img_size = (64, 64)')
    assert 'base.py:2: TypeError' in error and 'mine.py:2) in place of 64' in error
    assert 'takes no tuple: write one whole number, such as img_size=64' in error


@pytest.mark.parametrize('value', [[33, 70], '640', (33, 70), None])
def test_one_side_is_asked_for_where_a_list_cannot_be(value):
    sentence = rf'img_size = .* in place of 800, .* takes no {type(value).__name__}: write one whole number, such as'
    with pytest.raises(ConfigError, match=sentence):
        load_config(DETR, dict(img_size=value), need_classes=False)


@pytest.mark.default_cases(10)
@pytest.mark.parametrize(
    'base, text, sentence',
    [
        (SEG, 'optim_wrapper = dict(optimizer=dict(lr=-1))', 'optimizer.lr: AdamW takes lr at least 0; found -1'),
        (SEG, "optim_wrapper = dict(optimizer=dict(lr=float('inf')))", 'AdamW takes lr as a finite number; found inf'),
        (SEG, "optim_wrapper = dict(optimizer=dict(lr='1e-3'))", "lr as a number; found '1e-3'; write 0.001"),
        (SEG, 'optim_wrapper = dict(nominal_batch_size=0)', 'takes nominal_batch_size at least 1'),
        (SEG, 'optim_wrapper = dict(optimizer=dict(betas=(2, 1)))', 'Invalid beta parameter'),
        (SEG, 'model = dict(backbone=dict(act="foo"))', "model.backbone.act: there is no activation 'foo'"),
        (SEG, 'model = dict(head=dict(test_cfg=dict(iou_thr=2)))', 'test_cfg takes iou_thr from 0 to 1; found 2'),
        (SEG, 'model = dict(head=dict(test_cfg=dict(max_per_img=0)))', 'test_cfg takes max_per_img at least 1'),
        (SEG, 'model = dict(head=dict(test_cfg=dict(iuo_thr=.5)))', "test_cfg has no 'iuo_thr'"),
        (SEG, 'model = dict(head=dict(strides=(4, 8, 16)))', r'model.head.strides: .* gives \(8, 16, 32\)'),
        (SEG, "model = dict(neck=[dict(type='PAN', out_channels=[-3, 4, 5])])", 'PAN takes out_channels at least 1'),
        (SEG, 'model = dict(_delete_=True)', r'needs a type; found the keys \(none\); write type='),
        (DETR, 'model = dict(backbone=dict(depth=19))', 'model.backbone.depth: ResNet: depth is 19; it must be one'),
        (SEG, 'default_hooks = dict(time_limit=dict(hours=0))', 'TimeLimitHook takes hours above 0; found 0'),
        (SEG, "default_hooks = dict(early_stopping=dict(type='EarlyStoppingHook', patience=-1))", 'at least 1'),
        (SEG, 'train_cfg = dict(freeze=-1)', 'TrainLoop takes freeze at least 0; found -1'),
        (SEG, 'randomness = dict(seed=-1)', 'takes seed from 0 to 4294967295; found -1'),
        (SEG, 'fraction = 0.0', 'takes fraction above 0'),
        (SEG, 'flip_prob = 3; scale = 0.2; degrees = 2', 'RandomFlip takes prob from 0 to 1; found 3'),
        (SEG, 'img_size = 50', 'size: 50 is no multiple of 32, the largest stride of YOLOv8SegmentHead; write 64'),
        (SEG, 'mask_stride = 2', 'mask_stride: Render draws .* for 2 .* prototypes .* for 4.*write mask_stride=4'),
        (SEG, 'with_masks = False', 'YOLOv8SegmentHead learns masks, but Render draws none; write with_masks=True'),
        (SEG, "classes = ('a', 'a')", "classes names the class 'a' more than once"),
        (SEG, 'classes = ()', 'classes is empty'),
        (SEG, 'val_pipeline = _base_.train_pipeline', 'Mosaic mixes images, but a dataset with test_mode=True'),
        (
            SEG,
            "val_pipeline = [*_base_.val_pipeline]; val_pipeline[1] = dict(type='RandomChoice', "
            "transforms=[[dict(type='Mosaic', size=64)], []])",
            'Mosaic mixes images, but a dataset with test_mode=True',
        ),
        (SEG, 'val_pipeline = [*_base_.val_pipeline[:2], *_base_.val_pipeline[1:]]', 'LetterBox is there twice'),
        (
            SEG,
            'train_pipeline = [_base_.train_pipeline[i] for i in (0, 7, 2, 8, 9)]',
            'CopyPaste changes where things are before Render',
        ),
        (SEG, 'val_evaluator = None', 'the config has val_dataloader, val_cfg but no val_evaluator; give all or none'),
        (SEG, 'val_evaluator = []', 'the config has val_dataloader, val_cfg but no val_evaluator'),
        (SEG, 'train_cfg = None', 'the config has train_dataloader, optim_wrapper but no train_cfg'),
        (SEG, 'train_dataloader = None', 'the config has train_cfg, optim_wrapper but no train_dataloader'),
        (DET, "task = 'obb'", "task: task 'obb' asks for rotated boxes, but YOLOv8Head predicts boxes"),
        (SEG, "task = 'det'", "task 'det' gives boxes alone, but YOLOv8SegmentHead learns masks"),
        (DET, "val_evaluator = dict(metric='segm')", 'CocoMetric measures masks, but YOLOv8Head predicts boxes'),
        (CLS, "model = dict(head=dict(_delete_=True, type='YOLOv8Head'))", 'head.type: ImageClassifier does not fit'),
        (SEG, "model = dict(type='ImageClassifier')", 'model.type: ImageClassifier does not fit YOLOv8SegmentHead'),
    ],
)  # fmt: skip
def test_values_that_nothing_can_use(tmp_path, base, text, sentence):
    with pytest.raises(ConfigError, match=rf'mine.py:2\)?: .*{sentence}'):
        raise ConfigError(error_of(tmp_path, base, text))


def test_which_of_several_variables_changed_a_value(tmp_path):
    error = error_of(tmp_path, SEG, 'scale = 0.2\ndegrees = 2\nflip_prob = 3')
    assert 'mine.py:4): train_dataloader.dataset.dataset.pipeline.6.prob' in error


@pytest.mark.parametrize('freeze', ["'bakbone'", '100'])
def test_a_part_that_cannot_be_frozen(tmp_path, freeze):
    path = tmp_path / 'mine.py'
    path.write_text(f'_base_ = {str(Path(SEG).resolve())!r}\ntrain_cfg = dict(freeze={freeze})')
    config = load_config(path)
    with torch.device('meta'):
        model = DETECTORS.build(config.model)
    with pytest.raises(ConfigError, match='mine.py:2: train_cfg.freeze '), located(config):
        freeze_modules(model, config.train_cfg['freeze'])


@pytest.mark.parametrize('config', [DET, SEG, CLS, OBB, DETR, 'configs/detr/panoptic_coco.py'])
def test_loading_draws_no_random_number(config):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_config(config, need_classes=False)
    assert torch.equal(before, torch.get_rng_state())
