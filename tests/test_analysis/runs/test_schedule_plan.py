"""Schedules without training: the values that a run sets."""

import csv
import math
import shutil

import numpy as np
import pytest

from detkit.analysis.runs.schedule_charts import plot_schedules
from detkit.analysis.runs.schedule_plan import detail_end, plan_schedule, plan_text, write_plans
from detkit.config import load_config
from detkit.utils.errors import ConfigError, DataError

CONFIG = 'configs/yolov8/det_coco.py'


def config(repo, *options):
    return load_config(repo / CONFIG, options, need_classes=False)


@pytest.fixture(scope='module')
def plan(repo):
    return plan_schedule(config(repo), num_images=16 * 1000)


def at(plan, group, iteration, name='lr'):
    place = np.flatnonzero(plan.iterations == iteration)
    assert len(place) == 1
    return getattr(plan.groups[group], name)[place[0]]


def test_values_are_those_of_the_recipe(plan):
    assert (plan.epoch_length, plan.max_iters, plan.warmup) == (1000, 500_000, 3000)
    assert [group.name for group in plan.groups] == ['weight', 'norm', 'bias']
    assert sum(group.parameters for group in plan.groups) == 3_157_184
    assert at(plan, 0, 0) == 0 and at(plan, 2, 0) == 0.1
    assert at(plan, 0, 0, 'momentum') == 0.8 and at(plan, 0, 499_999, 'momentum') == 0.937
    for epoch in (3, 200, 499):  # linear, to a hundredth, constant within an epoch
        expected = 0.01 * (1 - epoch / 500 * 0.99)
        for iteration in (epoch * 1000, epoch * 1000 + 999):
            # The first iteration behind the warm-up still counts to it, with the full rate.
            assert at(plan, 0, iteration) == pytest.approx(expected) == at(plan, 2, iteration)
    assert plan.accumulate[0] == 1 and plan.accumulate[-1] == 4
    assert plan.close_epoch == 491


def test_the_number_of_steps(plan):
    # One batch a step for 500 iterations of the warm-up, 2 and 3 for 1000 each, then 4.
    assert plan.steps == pytest.approx(500 + 500 + 1000 / 3 + 497_500 / 4, rel=1e-3)


def test_what_an_iteration_is(repo):
    cfg = config(repo, 'train_dataloader.batch_size=10', 'max_epochs=3', '+train_dataloader.drop_last=True')
    cut = plan_schedule(cfg, num_images=64, world_size=2)
    assert (cut.batch_size, cut.epoch_length, cut.max_iters) == (20, 3, 9)
    assert 'batches of 20 are 3 iterations' in plan_text(cut)
    assert cut.iterations.tolist() == list(range(9)) and cut.close_epoch == 1
    assert detail_end(cut) == 0  # all of it is warm-up
    text = 'an epoch has no batch: there are 3 training images, fewer than the 16 .*write batch_size=3, or'
    with pytest.raises(DataError, match=text):
        plan_schedule(config(repo, '+train_dataloader.drop_last=True'), num_images=3)


@pytest.mark.parametrize(('shares', 'close_epoch'), [(None, 491), ([0.5, 0.5], 491), ([0, 1], None)])
def test_mosaic_inside_a_choice_is_turned_off_at_the_end(repo, shares, close_epoch):
    cfg = config(repo)
    choice = dict(type='RandomChoice', transforms=[[dict(type='Mosaic', size=64)], []], prob=shares)
    cfg.train_dataloader.dataset.pipeline = [dict(type='LoadImageFromFile'), choice]
    assert plan_schedule(cfg, num_images=64).close_epoch == close_epoch


@pytest.mark.parametrize(
    ('hooks', 'epochs'),
    [
        ({}, (1, 491)),
        (dict(close_mosaic=None), (1, None)),
        (dict(close_mosaic=dict(num_epochs=20, start_epoch=4)), (5, 481)),
        (dict(close_mosaic=dict(names=['Mosaic'])), (1, None)),  # mixup goes on
        (dict(close_mosaic=dict(names=['Mosaic']), mixup=dict(num_epochs=3, names=['MixUp'])), (1, 498)),
        (dict(close_mosaic=dict(names=['RandomFlip'])), (1, None)),
        (dict(close_mosaic=dict(num_epochs=0, start_epoch=500)), (1, 1)),  # never
        (dict(close_mosaic=dict(num_epochs=10), later=dict(num_epochs=30)), (1, 471)),
    ],
)
def test_images_are_mixed_between_the_epochs_of_all_hooks(repo, hooks, epochs):
    cfg = config(repo)
    cfg.train_dataloader.dataset.pipeline = [dict(type='LoadImageFromFile'), dict(type='Mosaic'), dict(type='MixUp')]
    hooks = {name: hook and dict(type='CloseTransformsHook', **hook) for name, hook in hooks.items()}
    cfg.custom_hooks = [dict(hooks.pop('later'), priority='LOW')] if 'later' in hooks else None
    cfg.default_hooks = {**(cfg.default_hooks or {}), **hooks}
    plan = plan_schedule(cfg, num_images=64)
    assert (plan.open_epoch, plan.close_epoch) == epochs
    assert (f'off before epoch {epochs[0]}' in plan_text(plan)) == (epochs[0] > 1)


def test_schedulers_of_mmengine(repo):
    cfg = config(repo, 'max_epochs=10')
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=20),
        dict(type='MultiStepLR', milestones=[4, 8], gamma=0.1),
    ]
    cfg.optim_wrapper.optimizer = dict(type='AdamW', lr=0.001, betas=(0.9, 0.999))
    cfg.optim_wrapper.paramwise_cfg = dict(lr_mult={'backbone': 0.1})
    plan = plan_schedule(cfg, num_images=160)
    assert plan.warmup == 20 and plan.optimizer == 'AdamW' and len(plan.groups) == 6
    names = [group.name for group in plan.groups]
    weight, backbone = names.index('weight'), names.index('backbone.weight')
    assert at(plan, weight, 0) == pytest.approx(1e-4)
    for iteration, rate in ((25, 1e-3), (39, 1e-3), (40, 1e-4), (99, 1e-5)):
        assert at(plan, weight, iteration) == pytest.approx(rate)
        assert at(plan, backbone, iteration) == pytest.approx(rate / 10)
    assert at(plan, weight, 50, 'momentum') == 0.9


def test_frozen_parts_have_no_group(repo):
    plan = plan_schedule(config(repo, "train_cfg.freeze=['backbone','neck']"), num_images=160)
    assert 0 < sum(group.parameters for group in plan.groups) < 1_000_000


def test_the_data_are_counted(repo, tiny_data):
    cfg = load_config(repo / 'configs/yolov8/det_n_coco8.py', [f'data_root={tiny_data}', 'batch_size=2'])
    plan = plan_schedule(cfg)
    assert plan.num_images == 2 * cfg.train_dataloader.dataset.get('times', 1)
    assert plan.optimizer == 'AdamW' and plan.steps == plan.max_iters
    with pytest.raises(DataError, match='--num-images'):
        plan_schedule(config(repo, 'data_root=nowhere'))
    cfg.train_cfg = None
    with pytest.raises(ConfigError, match='no train_cfg'):
        plan_schedule(cfg)


def test_picture_and_values(plan, repo, tmp_path):
    figure = plot_schedules([plan])
    assert [axes.get_title() for axes in figure.axes][::2] == [
        'learning rate',
        'momentum (Adam: beta 1)',
        'batches a step',
    ]
    whole, beginning = figure.axes[:2]
    assert [line.get_label() for line in whole.lines[:2]] == ['weight, norm', 'bias']
    assert whole.get_ylim()[1] == pytest.approx(1.1 * 0.01 * (1 - 3 / 500 * 0.99), rel=1e-3)
    assert beginning.lines[1].get_ydata()[0] == 0.1 and beginning.lines[0].get_xdata()[-1] <= 3750
    other = plan_schedule(
        config(repo, 'param_scheduler.warmup_epochs=0', "param_scheduler.decay='cosine'"),
        num_images=16 * 1000,
        label='other',
    )
    assert other.warmup == 0 and detail_end(other) == 0
    assert at(other, 0, 125_000) == pytest.approx(0.01 * (0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2))
    labels = [line.get_label() for line in plot_schedules([plan, other], log_scale=True).axes[0].lines]
    assert 'det_coco: bias' in labels and 'other: weight, norm, bias' in labels
    write_plans([plan, other], tmp_path / 'values.csv')
    rows = list(csv.DictReader((tmp_path / 'values.csv').open()))
    assert len(rows) == 3 * (len(plan.iterations) + len(other.iterations))
    assert rows[0] == {
        'config': 'det_coco',
        'iteration': '0',
        'epoch': '0.0000',
        'group': 'weight',
        'lr': '0',
        'momentum': '0.8',
        'accumulate': '1',
    }


def test_broken_labels_do_not_matter_to_a_schedule(repo, tiny_data, tmp_path):
    shutil.copytree(tiny_data / 'images', tmp_path / 'images')
    shutil.copytree(tiny_data / 'labels', tmp_path / 'labels')
    for path in (tmp_path / 'labels' / 'train').iterdir():
        path.write_text(path.read_text() + '0 nan nan nan nan\n' * 5)
    cfg = load_config(repo / 'configs/yolov8/seg_n_coco8.py', [f'data_root={tmp_path}'], need_classes=False)
    assert plan_schedule(cfg).num_images == 2 * cfg.train_dataloader.dataset.times
