"""A value that a component's constructor refuses is an error of the config, with key, file and line."""

import pytest
from mmengine.config import Config
from torch import nn

from detkit.config import load_config, located
from detkit.datasets.formats.yolo import YoloTxtDataset
from detkit.engine import Runner
from detkit.engine.hooks import Hook
from detkit.models.layers.attention import MultiHeadAttention
from detkit.models.layers.deformable_attention import points_of_levels
from detkit.registry import BACKBONES, DATA_PREPROCESSORS, DATASETS, HOOKS, NECKS, PARAM_SCHEDULERS
from detkit.utils.errors import ComponentError, ConfigError

CONFIG = 'configs/yolov8/seg_n_coco8.py'


@BACKBONES.register_module()
class RefusingBackbone(nn.Module):
    """Refuses what a test asks it to."""

    def __init__(self, kind: str = 'value', depth: int = 3) -> None:
        if kind == 'value':
            raise ValueError(f'depth must be 18 or 50, found {depth}')
        if kind == 'type':
            depth + kind
        if kind == 'index':
            (0, 1)[depth]

    def forward(self, x):
        return ()


@HOOKS.register_module()
class RefusingHook(Hook):
    """Refuses every interval."""

    def __init__(self, interval: int) -> None:
        raise ValueError(f'interval is {interval}')


def error_of(*options: str, config: str = CONFIG) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(config, list(options))
    return str(error.value)


REMEDIES = [
    (NECKS, dict(type='PAN', in_channels=(8, 8), out_channels=(8, 8, 8)), '3 out_channels for 2 maps; write 2 numbers'),
    (NECKS, dict(type='HybridEncoder', in_channels=(8, 8), encoder_levels=(2,)), 'but there are 2 maps; write indices'),
    (NECKS, dict(type='YOLOv3Neck', in_channels=(8, 8), num_convs=(1,)), '1 num_convs; write as many numbers as maps'),
    (DATA_PREPROCESSORS, dict(type='DetDataPreprocessor', mean=(0.0,)), 'in mean but 3 in std; write as many numbers'),
    (
        PARAM_SCHEDULERS,
        dict(type='WarmupDecay', warmup_min_iters=5, warmup_max_iters=4),
        'min_iters 5; raise the former',
    ),
    (DATASETS, dict(type='ConcatDataset', datasets=[]), 'datasets is empty; write the config of one'),
]


@pytest.mark.parametrize(('registry', 'config', 'sentence'), REMEDIES)
def test_a_refused_value_says_what_to_write(registry, config, sentence):
    with pytest.raises((ConfigError, ComponentError, ValueError), match=sentence):
        registry.build(config)


def test_points_of_deformable_attention_say_what_to_write():
    with pytest.raises(ConfigError, match=r'num_points has 2 numbers for 3 .*; write one number for all .*, or 3 num'):
        points_of_levels('X', (4, 4), 3)
    with pytest.raises(ValueError, match='no multiple of num_heads 3; change either'):
        MultiHeadAttention(8, 3)


@pytest.mark.parametrize(
    'option, sentence',
    [
        (
            '+model.head.loss_cls.label_smoothing=2',
            'options: model.head.loss_cls.label_smoothing: BinaryCrossEntropyLoss cannot be built: '
            'label_smoothing must be in [0, 1), found 2',
        ),
        ('model.head.loss_bbox.mode=foo', "IoULoss mode must be one of ('iou', 'giou', 'diou', 'ciou'), found 'foo'"),
        ('optim_wrapper.optimizer.lr=-1', 'optim_wrapper.optimizer.lr: AdamW takes lr at least 0; found -1'),
        ('scale=-5', 'train_dataloader.dataset.dataset.pipeline.3.scale: RandomAffine cannot be built'),
        ('param_scheduler.decay=foo', "options: param_scheduler.decay is 'foo'"),
        ('+optim_wrapper.paramwise_cfg.lr=3', "optim_wrapper.paramwise_cfg has no key 'lr'"),
        ('mosaic_prob=3', 'pipeline.1.prob: Mosaic takes prob from 0 to 1; found 3'),
        ('img_size=0', 'Mosaic takes size at least 1; found 0'),
        ('+default_hooks.close_mosaic.start_epoch=-1', 'CloseTransformsHook takes start_epoch at least 0; found -1'),
        ('+param_scheduler.warmup_min_iters=-5', 'WarmupDecay takes warmup_min_iters at least 0; found -5'),
        ('+param_scheduler.tail_epochs=-3', 'WarmupDecay takes tail_epochs at least 0; found -3'),
        (
            '+model.data_preprocessor.multi_scale_interval=0',
            'DetDataPreprocessor takes multi_scale_interval at least 1; found 0',
        ),
        ('repeat_times=0', 'train_dataloader.dataset.times: RepeatDataset takes times at least 1; found 0'),
        ('batch_size=0', 'train_dataloader.batch_size: a data loader takes batch_size at least 1; found 0'),
        ('max_epochs=0', 'train_cfg.max_epochs: TrainLoop takes max_epochs at least 1; found 0'),
        ('max_epochs=ten', "TrainLoop takes max_epochs as int; found 'ten'"),
        ("flip_prob='0.5'", "RandomFlip takes prob as float; found '0.5'; write 0.5"),
        ("val_evaluator.metric='segm,bbox'", 'val_evaluator.metric: CocoMetric'),
    ],
)
def test_it_is_refused_when_the_config_is_loaded(option, sentence):
    assert sentence in error_of(option)


@pytest.mark.parametrize(
    'config, option, sentence',
    [
        ('rfdetr/det_tiny_coco8', 'num_groups=0', 'model.head.num_groups: RFDETRHead takes num_groups at least 1'),
        (
            'rtdetr/det_r18_coco8',
            'num_denoising=-1',
            'model.head.num_denoising: RTDETRHead takes num_denoising at least 0',
        ),
    ],
)
def test_numbers_of_queries_are_named_by_their_key(config, option, sentence):
    assert sentence in error_of(f'model.head.{option}', config=f'configs/{config}.py')


def write(tmp_path, line: str):
    from pathlib import Path

    path = tmp_path / 'mine.py'
    path.write_text(f'_base_ = {str(Path(CONFIG).resolve())!r}\n{line}\n')
    return load_config(path, {'work_dir': str(tmp_path / 'run'), 'device': 'cpu'})


@pytest.mark.parametrize(
    'line, sentence',
    [
        (
            "model = dict(backbone=dict(_delete_=True, type='RefusingBackbone', depth=7))",
            'mine.py:2: model.backbone.depth: RefusingBackbone cannot be built: depth must be 18 or 50, found 7',
        ),
        (
            "model = dict(\n    backbone=dict(_delete_=True, type='RefusingBackbone',\n        kind='type'))",
            'mine.py:3: model.backbone: RefusingBackbone cannot be built: TypeError: unsupported operand',
        ),
        (
            "model = dict(backbone=dict(_delete_=True, type='RefusingBackbone', kind='index'))",
            'IndexError: tuple index out of range (test_refused_values.py:',
        ),
        (
            "custom_hooks = [dict(type='TimeLimitHook'), dict(type='RefusingHook', interval=4)]",
            'mine.py:2: custom_hooks.1.interval: RefusingHook cannot be built: interval is 4',
        ),
    ],
)
def test_the_runner_names_it(tmp_path, line, sentence):
    config = write(tmp_path, line)
    with pytest.raises(ConfigError) as error:
        Runner(config)
    assert sentence in str(error.value)
    assert not (tmp_path / 'run').exists()


def test_a_config_of_python_values_has_no_file():
    cfg = Config(dict(model=dict(backbone=dict(type='RefusingBackbone', depth=1))))
    with pytest.raises(ConfigError, match=r'^model.backbone.depth: RefusingBackbone cannot'), located(cfg):
        BACKBONES.build(cfg.model.backbone)


def test_a_component_of_another_config_keeps_its_sentence():
    with pytest.raises(ComponentError, match=r'^RefusingBackbone cannot be built'), located({'model': {}}):
        BACKBONES.build(dict(type='RefusingBackbone'))


@pytest.mark.parametrize(
    'given, sentence',
    [
        ("clases=('a',)", "YoloTxtDataset reads no 'clases' of metainfo; it takes .*Did you mean 'classes'"),
        ("CLASSES=('a',)", "Did you mean 'classes'"),
        ('palette=[(1, 2, 3)]', "reads no 'palette' of metainfo; it takes .*classes"),
        ('stuff_labels=(0,)', "YoloTxtDataset reads no 'stuff_labels'"),
    ],
)
def test_metainfo_that_no_dataset_reads(tmp_path, given, sentence):
    path = tmp_path / 'mine.py'
    path.write_text(
        "_base_ = 'detkit::yolov8/det_n_coco8'\n"
        f'train_dataloader = dict(dataset=dict(dataset=dict(metainfo=dict({given}))))\n'
    )
    with pytest.raises(ConfigError, match=rf'mine.py:2: train_dataloader.dataset.dataset.metainfo.*{sentence}'):
        load_config(path)


def test_metainfo_of_one_s_own_dataset(monkeypatch):
    monkeypatch.setattr(DATASETS, '_module_dict', dict(DATASETS.module_dict))

    class TalliedDataset(YoloTxtDataset):
        metainfo_keys = (*YoloTxtDataset.metainfo_keys, 'counts')

    options = {
        'train_dataloader.dataset.dataset.type': 'TalliedDataset',
        '+train_dataloader.dataset.dataset.metainfo.counts': [3],
    }
    DATASETS.register_module(module=TalliedDataset)
    assert load_config('yolov8/det_n_coco8', options).train_dataloader.dataset.dataset.metainfo.counts == [3]


@pytest.mark.parametrize(
    'option',
    ['+model.head.in_channels=256', '+model.head.rpn_head.in_channels=256', '+model.head.bbox_head.in_channels=256'],
)
def test_channels_of_another_kind_are_left_out(option):
    sentence = error_of(option, config='faster_rcnn/det_r18_coco8')
    assert sentence.endswith('takes in_channels as list[int] | None; found 256; leave it out, so that it is filled in')
