"""What people who come from other toolboxes type is answered with the key that does what they mean."""

import re

import pytest

from detkit.config import load_config
from detkit.config.keys import REFUSED_KEYS, WORDS
from detkit.utils.errors import ConfigError

CONFIG = 'configs/yolov8/seg_n_coco8.py'
# Words whose key this config neither has nor takes; no key is named for them.
WITHOUT = {'obj', 'pose', 'kobj'}


def error_of(*options: str, path=CONFIG) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(path, list(options))
    return str(error.value)


@pytest.mark.parametrize(
    'word, key',
    [
        ('lr', 'optim_wrapper.optimizer.lr'),
        ('lr0', 'optim_wrapper.optimizer.lr'),
        ('lrf', 'param_scheduler.final_factor'),
        ('epochs', 'max_epochs'),
        ('imgsz', 'img_size'),
        ('batch', 'batch_size'),
        ('weights', 'load_from'),
        ('data', 'data_root'),
        ('workers', 'num_workers'),
        ('patience', 'default_hooks.early_stopping.patience'),
        ('optimizer', 'optim_wrapper.optimizer.type'),
        ('weight_decay', 'optim_wrapper.optimizer.weight_decay'),
        ('gpu_ids', 'device'),
        ('save_period', 'default_hooks.checkpoint.save_period'),
        ('project', 'work_dir'),
        ('name', 'work_dir'),
        ('seed', 'randomness.seed'),
        ('conf', 'model.head.test_cfg.score_thr'),
        ('iou', 'model.head.test_cfg.iou_thr'),
        ('amp', 'optim_wrapper.amp'),
        ('mosaic', 'mosaic_prob'),
        ('fliplr', 'flip_prob'),
        ('nc', 'classes'),
    ],
)
def test_a_word_names_its_key(word, key):
    assert f"Did you mean '{key}=1'" in error_of(f'{word}=1')
    assert f"Did you mean '{key}'" in error_of(f'+{word}=1')


@pytest.mark.default_cases(17)
@pytest.mark.parametrize('word', {keys: word for word, keys in WORDS.items() if word != 'classes'}.values())
def test_a_key_that_is_named_exists(word):
    value = 0.5 if word == 'smoothing' else 1
    error = error_of(f'{word}={value}')
    named = re.findall(r"(?:Did you mean '|write \+)([\w.]+)=", error)
    assert bool(named) == (word not in WITHOUT), error
    assert error.count(', ') <= 10
    for key in named:
        try:
            load_config(CONFIG, [f'{"+" if "write +" in error else ""}{key}={value}'])
        except ConfigError as refused:
            assert 'no key' not in str(refused) and 'nothing' not in str(refused)


def test_a_name_in_a_file(tmp_path):
    from pathlib import Path

    path = tmp_path / 'mine.py'
    for line, sentence in {
        'lr = 0.1': "mine.py:2: nothing reads the top-level name 'lr'. Did you mean 'optim_wrapper.optimizer.lr'",
        'epochs = 3': "Did you mean 'max_epochs'",
        'mosaic_porb = 0.5': "Did you mean 'mosaic_prob'",
        'log_interval = 5': "Did you mean 'train_cfg.log_interval'",
        'mask_stride = 8\nzzz = 1': "mine.py:3: nothing reads the top-level name 'zzz'",
    }.items():
        path.write_text(f'_base_ = {str(Path(CONFIG).resolve())!r}\n{line}\n')
        assert sentence in error_of(path=path)


def test_a_variable_of_a_shared_base_that_this_config_does_not_use(tmp_path):
    (tmp_path / '_base_').mkdir()
    (tmp_path / '_base_' / 'data.py').write_text('mask_stride = 4')
    path = tmp_path / 'mine.py'
    path.write_text("_base_ = '_base_/data.py'")
    assert load_config(path).mask_stride == 4
    assert 'nothing there is built from it' in error_of('mask_stride=8', path=path)
    path.write_text("_base_ = '_base_/data.py'\nmask_stride = 8")
    assert "mine.py:2: nothing reads the top-level name 'mask_stride'" in error_of(path=path)


@pytest.mark.parametrize('key', sorted(REFUSED_KEYS))
def test_a_key_without_effect_is_refused(key, tmp_path):
    assert f'{key} has no effect here: ' in error_of(f'{key}=1')
    assert f'{key} has no effect here: ' in error_of(f'+{key}=1')


@pytest.mark.parametrize(
    'option, sentence',
    [
        ('randomness.sede=1', "randomness has seed, deterministic. Did you mean 'randomness.seed=1'"),
        ('+randomness.sede=1', "randomness has no key 'sede'"),
        ('+env_cfg.mp_cfg=1', "env_cfg has no key 'mp_cfg'"),
        ('classes=bolt', "classes is 'bolt', but must be list[str] | None; write ('bolt',)"),
        ('+custom_imports=mine', "custom_imports is 'mine', but must be a dict: dict(imports=...)"),
        ('resume=None', 'resume is None, but must be bool | str'),
        ('log_level=verbose', "log_level is 'verbose', but must be one of 'DEBUG', 'INFO'"),
        ("train_cfg.max_epochs='10'", "TrainLoop takes max_epochs as int; found '10'; write 10"),
        ('randomness.seed=abc', "randomness.seed is 'abc', but must be int | None"),
        (
            'train_dataloader.dataset.pipeline.1.prob=0',
            "train_dataloader.dataset has no key 'pipeline'|"
            "Did you mean 'train_dataloader.dataset.dataset.pipeline.1.prob=0'",
        ),
    ],
)
def test_other_mistakes(option, sentence):
    error = error_of(option)
    assert any(part in error for part in sentence.split('|')), error


@pytest.mark.parametrize(
    'text, remedy',
    [
        ('{{_base_.img_size}}', 'write _base_.img_size outside of quotes'),
        ('runs/{{ fileBasenameNoExtension }}', 'write the value itself'),
        ('{{$DATA:data}}', 'write the value itself'),
    ],
)
def test_templates_in_texts_are_no_values(tmp_path, text, remedy):
    (tmp_path / 'mine.py').write_text(f"_base_ = 'detkit::yolov8/det_n_coco8'\nwork_dir = [{text!r}][0]\n")
    message = error_of(path=tmp_path / 'mine.py')
    assert message.startswith(f'{tmp_path / "mine.py"}:2: work_dir is {text!r}') and message.endswith(remedy)
    assert 'work_dir' in error_of(f'work_dir={text}')


def test_schedule_1x_has_the_keys_that_stand_for_mmdetection_s():
    path = 'configs/faster_rcnn/det_1x_coco.py'
    options = ['optim_wrapper.accumulate=8', 'optim_wrapper.nominal_batch_size=16', 'optim_wrapper.clip_grad_norm=35']
    wrapper = load_config(path, options, need_classes=False).optim_wrapper
    assert (wrapper.accumulate, wrapper.nominal_batch_size, wrapper.clip_grad_norm) == (8, 16, 35)
    config = load_config(path, ['warmup_iters=0'], need_classes=False)
    assert config.optim_wrapper.clip_grad_norm is None  # not the wrapper's default
    assert [scheduler.type for scheduler in config.param_scheduler] == ['MultiStepLR']
    assert 'size_divisor from 1 to 4096; found 0' in error_of('size_divisor=0', path=path)


def test_a_number_is_not_offered_for_a_dict():
    message = error_of('model.head.bbox_head.loss_cls.loss_weight=2', path='configs/faster_rcnn/det_r18_coco8.py')
    assert message.endswith('To add a key, write +model.head.bbox_head.loss_cls.loss_weight=2')
