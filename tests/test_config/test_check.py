"""The strict check of components, and the signatures that it rests on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
import torch
from builders import CONFIGS

from detkit.config import load_config
from detkit.config.signatures import arguments_of
from detkit.config.value_types import fits
from detkit.engine.runner import Runner
from detkit.utils.errors import ConfigError


@pytest.mark.parametrize(
    'old, new, sentence',
    [
        (
            "'ToyBackbone'",
            "'ToyBackbon'",
            r"toy.py:6: model.backbone.type: there is no backbone 'ToyBackbon'. Did you mean 'ToyBackbone'.*Registered are: .* custom_imports",  # noqa: E501
        ),
        (
            "'ToyAssigner'",
            "'ToyLoss'",
            r"model.head.assigner.type: there is no assigner 'ToyLoss'; there is a loss of that name",
        ),
        (
            'depth=50',
            'depth=50, widht=2',
            r"toy.py:6: model.backbone.widht: ToyBackbone has no argument 'widht'; accepted "
            r"are width, depth, init_cfg, frozen. Did you mean 'width'",
        ),
        ('depth=50', 'width=2', r"toy.py:6: model.backbone: ToyBackbone needs the argument 'depth'"),
        ('depth=50', 'depth=50, in_channels=3', "ToyBackbone has no argument 'in_channels'"),
        ("dict(type='ToyMetric')", 'dict(kind=3)', r'val_evaluator: a metric needs a type; found the keys kind'),
        ("dict(type='ToyMetric')", "[dict(type='ToyMetric', knd=1)]", 'val_evaluator.0.knd: ToyMetric has no argument'),
    ],
)
def test_wrong_components(toy, old, new, sentence):
    toy.write_text(toy.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=sentence):
        load_config(toy)


def test_a_transform_of_a_wrapped_data_set(toy):
    base = toy.parent / 'base.py'
    base.write_text(base.read_text().replace("dict(type='ToyFlip', prob=0.25)", "dict(type='ToyFlop')"))
    with pytest.raises(ConfigError, match=r"base.py:4: train_dataloader.dataset.pipeline.0.type: .*'ToyFlip'"):
        load_config(toy)


def test_arguments_left_over_from_another_type(toy):
    path = toy.with_name('other.py')
    path.write_text("_base_ = 'toy.py'\nmodel = dict(backbone=dict(type='ToyShallow'))")
    with pytest.raises(ConfigError, match=r"has no argument 'depth'.*The type is set in .*other.py:2.*_delete_=True"):
        load_config(path)


def test_a_class_may_be_given_itself(toy):
    toy.write_text(toy.read_text().replace("type='ToyAssigner'", 'type=dict'))
    assert load_config(toy).model.head.assigner.type is dict


@pytest.mark.parametrize(
    'line, sentence',
    [
        ("optim_wrapper = dict(optimizer='SGD')", "optim_wrapper.optimizer: 'SGD' is given where"),
        ("optim_wrapper = dict(optimizer=dict(type='SGD'), constructor='X')", "no optim wrapper constructor 'X'"),
        ('train_dataloader = dict(sampler=3)', 'train_dataloader.sampler: 3 is given where a data sampler is expected'),
        ("train_dataloader = dict(collate_fn=dict(type='collate', pad=3))", "collate has no argument 'pad'"),
        (
            "train_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=[dict(type='ToyDataset')]))",  # noqa: E501
            "train_dataloader.dataset.datasets.0: ToyDataset needs the argument 'data_root'",
        ),
        ('train_cfg = dict(max_epoch=3)', "TrainLoop has no argument 'max_epoch'.*'max_epochs'"),
        ("default_hooks = dict(ema=dict(type='EMAHook', decai=3))", 'default_hooks.ema.decai: EMAHook has no argument'),
        (
            "custom_hooks = [dict(type='EMAHok')]",
            "custom_hooks.0.type: there is no hook 'EMAHok'. Did you mean 'EMAHook'",
        ),
        ("train_cfg = dict(max_epochs='ten')", "train_cfg.max_epochs: TrainLoop takes max_epochs as int; found 'ten'"),
        ('train_cfg = dict(max_epochs=1, val_interval=True)', 'TrainLoop takes val_interval as int; found True'),
        ("train_dataloader = dict(batch_size='four')", "a data loader takes batch_size as int; found 'four'"),
        (
            "train_dataloader = dict(render_on='gpu')",
            "takes render_on as one of 'workers', 'device'; found 'gpu'",
        ),
        ("model = 'yolov8'", "model: 'yolov8' is given where a detector is expected"),
    ],
)
def test_wrong_runner_parts(toy, line, sentence):
    toy.write_text(toy.read_text() + line)
    with pytest.raises(ConfigError, match=sentence):
        load_config(toy)


def test_runner_parts(toy):
    toy.write_text(
        toy.read_text()
        + """
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentm=0.9))
"""
    )
    with pytest.raises(ConfigError, match=r"optim_wrapper.optimizer.momentm: SGD has no argument.*'momentum'"):
        load_config(toy)
    toy.write_text(
        toy.read_text().replace('momentm', 'momentum')
        + """
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoc=True)]
"""
    )
    with pytest.raises(ConfigError, match=r"param_scheduler.0.by_epoc: LinearLR has no argument.*'by_epoch'"):
        load_config(toy)


class Grandparent:
    def __init__(self, alpha, beta=1):
        pass


class Parent(Grandparent):
    def __init__(self, gamma, **kwargs):
        super().__init__(alpha=gamma, **kwargs)


class ByPosition(Grandparent):
    def __init__(self, *args, **kwargs):
        super().__init__(3, *args, **kwargs)


class Mixin:
    def __init__(self, delta=0, **kwargs):
        super().__init__(**kwargs)


class Mixed(Mixin, Parent):
    pass


class Swallows:
    def __init__(self, a, **kwargs):
        self.rest = kwargs


class Opaque(Parent):
    _accepts_any_kwargs = True

    def __init__(self, **kwargs):
        super().__init__(1)


class Module(torch.nn.Module):
    def __init__(self, a, **kwargs):
        super().__init__(**kwargs)


@pytest.mark.parametrize(
    'annotation, right, wrong',
    [
        (int, [0, -3], [True, 1.5, '1', None]),
        (float, [1, 0.5], [False, '0.5', None]),
        (bool, [True], [0, 'true']),
        (Path, ['a/b', Path('a')], [3]),
        (int | None, [None, 2], ['2', 2.5]),
        (tuple[int, int], [(1, 2), [1, 2]], [(1,), (1, 2, 3), (1, 'b'), 1]),
        (Sequence[float], [[], (1, 0.5)], ['ab', [None]]),
        (int | Sequence[int], [3, [3, 4]], ['abc', ['a']]),
        (dict[str, int], [{'a': 1}], [[1], 'a']),
        (Literal['sum', 'mean'], ['sum'], ['max']),
        (torch.nn.Module, [dict(type='SiLU'), 'SiLU', None], []),
    ],
)
def test_values_fit_their_annotations(annotation, right, wrong):
    assert [fits(value, annotation) for value in right] == [True] * len(right)
    assert [fits(value, annotation) for value in wrong] == [False] * len(wrong)


@pytest.mark.parametrize(
    'factory, names, required, any_name',
    [
        (Grandparent, ('alpha', 'beta'), {'alpha'}, False),
        (Parent, ('gamma', 'beta'), {'gamma'}, False),
        (ByPosition, ('beta',), set(), False),
        (Mixed, ('delta', 'gamma', 'beta'), {'gamma'}, False),
        (Swallows, ('a',), {'a'}, False),
        (Opaque, (), set(), True),
        (Module, ('a',), {'a'}, False),
        ((lambda samples, size=1: None), ('samples', 'size'), {'samples'}, False),
    ],
)
def test_signatures(factory, names, required, any_name):
    arguments = arguments_of(factory)
    assert (arguments.names, arguments.required, arguments.any_name) == (names, required, any_name)


def test_signature_of_a_scheduler_of_mmengine():
    from mmengine.optim import LinearLR

    arguments = arguments_of(LinearLR)
    assert {'optimizer', 'start_factor', 'begin', 'end', 'by_epoch'} <= set(arguments.names)
    assert 'param_name' not in arguments.names and not arguments.any_name


@pytest.mark.parametrize(
    'options, match',
    [
        (['widen_factor=0'], 'CSPDarknet takes widen_factor at least 0.01; found 0'),
        (['model.head.loss_cls.loss_weight=-1'], 'model.head.loss_cls.loss_weight: .* at least 0; found -1'),
        (['+model.data_preprocessor.multi_scale=(2,0.5)'], 'multi_scale must be .lowest, highest.'),
        (['+model.data_preprocessor.std=(0,1,1)'], 'std must be above 0'),
        (
            ['+model.data_preprocessor.mean=(0,0)', '+model.data_preprocessor.std=(1,1)'],
            'one value or one for each channel',
        ),
        (['+model.batch_norm.eps=-1'], 'batch_norm.eps must be a number of at least 0, found -1'),
        (['+model.batch_norm.momentum=x'], "batch_norm takes momentum as a number; found 'x'"),
        (['randomness.seed=-1'], 'randomness.seed: randomness takes seed from 0 to 4294967295; found -1'),
    ],
)
def test_values_that_would_fail_in_the_first_step(options, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = CONFIGS / 'yolov8' / 'det_n_coco8.py'
    with pytest.raises(ConfigError, match=match):
        Runner(load_config(path, [*options, 'device=cpu', f'work_dir={tmp_path / "run"}']))
