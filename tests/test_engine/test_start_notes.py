"""Validations without a result, ties, and what a run says or refuses before it begins."""

import re

import numpy as np
import pytest
import torch
from builders import CONFIGS
from PIL import Image
from small_models import SHALLOW

from detkit.config import load_config
from detkit.engine import Runner
from detkit.registry import METRICS
from detkit.utils.errors import ConfigError

from .dummy import DummyMetric, dummy_config

QUERIES = {
    'model.head.decoder.num_layers': 2,
    'model.head.num_queries': 3,
    'model.head.num_denoising': 2,
}
SMALL = {'img_size': 64, 'num_workers': 0, 'batch_size': 2, 'max_epochs': 1, 'default_hooks.pictures': None}


@METRICS.register_module()
class ScriptedMetric(DummyMetric):
    """Gives the results it is told to, one a validation."""

    def __init__(self, values):
        super().__init__()
        self.values = list(values)

    def compute_metrics(self, results):
        value = self.values.pop(0)
        return {'bbox_mAP': value, 'bbox_mAP50': value}


@pytest.mark.parametrize(
    ('values', 'best_epoch', 'epochs'),
    [
        ([-1, -1, -1, -1, -1, -1], 0, 6),  # nothing is defined: nothing is best, and patience does not run out
        ([float('nan'), 0.5, -1, -1, -1, 0.4], 2, 6),
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 3, 3),  # of equal ones the later is the best, but none is progress
        ([0.0, 0.3, 0.3, 0.2, 0.4, 0.4], 3, 4),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 6, 6),
    ],
)
def test_best_and_patience(tmp_path, values, best_epoch, epochs):
    config = dummy_config(
        tmp_path / 'run',
        train_cfg=dict(max_epochs=6, val_interval=1, final_eval=False),
        default_hooks=dict(early_stopping=dict(type='EarlyStoppingHook', patience=2)),
        val_evaluator=[dict(type='ScriptedMetric', values=values)],
    )
    runner = Runner(config)
    runner.train()
    assert (runner.train_loop.best_epoch, runner.epoch) == (best_epoch, epochs)
    assert (tmp_path / 'run' / 'best.pth').exists() == bool(best_epoch)


def write_yolo(root, split, num_objects):
    for number in range(4):
        for folder in ('images', 'labels'):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(root / 'images' / split / f'{number}.png')
        sizes = np.linspace(0.1, 0.9, num_objects)
        text = ''.join(f'0 0.5 0.5 {size:.6f} {size:.6f}\n' for size in sizes)
        (root / 'labels' / split / f'{number}.txt').write_text(text)


def start(tmp_path, num_train, num_val, config='yolov8/det_custom.py', **options):
    write_yolo(tmp_path, 'train', num_train)
    write_yolo(tmp_path, 'val', num_val)
    (tmp_path / 'data.yaml').write_text('train: images/train\nval: images/val\nnames: [a]\n')
    own = {'data_yaml': str(tmp_path / 'data.yaml'), **SMALL}
    own |= SHALLOW if config.startswith('yolov8/') else {}
    config = load_config(CONFIGS / config, {**own, **options, 'work_dir': str(tmp_path / 'run')})
    runner = Runner(config)
    runner.train()


def test_notes_before_a_run(tmp_path, capsys):
    start(tmp_path / 'a', 0, 0, **{'val_dataloader.dataset.split': 'train'})
    out = capsys.readouterr().out
    shared = tmp_path / 'a' / 'images' / 'train' / '0.png'
    assert f'4 of the 4 validation images are trained on too, such as {shared}: validation does not' in out
    assert 'none of the 4 train images shows an object: nothing can be learnt' in out
    assert 'none of the 4 val images shows an object: no metric is defined' in out
    assert '1 epoch of 2 batches' in out and 'from random weights: too few' in out and 'load_from=PATH' in out
    assert not (tmp_path / 'a' / 'run' / 'best.pth').exists()
    start(tmp_path / 'b', 1, 120)
    out = capsys.readouterr().out
    assert '4 val images show more objects (up to 120) than the 100 predictions' in out
    assert 'max_dets=(1, 10, 200)' in out and 'none of the' not in out and 'are trained on too' not in out


def test_more_objects_than_queries_are_noted(tmp_path, capsys):
    darknet = dict(type='CSPDarknet', deepen_factor=0.1, widen_factor=0.0625, out_indices=(3, 4))
    backbone = {'model.backbone': dict(_delete_=True, **darknet)}
    start(tmp_path, 5, 2, config='dfine/det_custom.py', size='n', **backbone, **QUERIES)
    out = capsys.readouterr().out
    assert 'note     4 train images show more objects (up to 5) than the 3 queries of DFINEHead' in out
    assert 'model.head.num_queries=100' in out


def test_gradients_combined_otherwise_than_losses_are_noted(tmp_path, capsys):
    start(tmp_path / 'a', 1, 1, **{'optim_wrapper.accumulate': 2, 'optim_wrapper.reduction': 'mean'})
    out = capsys.readouterr().out
    assert "losses of YOLOv8Head are sums over the images of a batch, but optim_wrapper.reduction is 'mean'" in out
    assert 'a gradient is 1/2 of that of one batch of as many images; write optim_wrapper.reduction=sum' in out
    start(tmp_path / 'b', 1, 1, **{'optim_wrapper.accumulate': 2})
    assert 'optim_wrapper.reduction' not in capsys.readouterr().out


def test_schedules_that_do_not_fit_the_run_are_noted(tmp_path, capsys):
    """As `detkit check` finds them; the warm-up of YOLOv8 has at least 100 iterations, and the run has 2."""
    start(tmp_path, 1, 1, **{'default_hooks.ema.tau': 1e-3, 'optim_wrapper.accumulate': 1})
    out = capsys.readouterr().out
    assert 'note     the warm-up of 100 iterations is as long as the whole run of 2, so that the full learning' in out
    assert 'param_scheduler.warmup_epochs=... or .warmup_min_iters=... shorter' in out
    assert 'note     1 epoch of 2 batches is 2 steps of the optimiser from random weights' in out
    assert 'in 2 iterations, 1 class; val' in out and ', 1 epoch, seed' in out and 'trained  1 epoch in' in out
    assert 'the averaged weights, which are validated and saved, are 2 steps old' in out
    assert re.search(
        'note     CloseTransformsHook turns Mosaic.* off for the last 10 epochs, which are all 1: its num_', out
    )


def test_a_run_that_is_complete_names_the_variable_to_raise(tmp_path, capsys):
    start(tmp_path, 1, 1)
    capsys.readouterr()
    start(tmp_path, 1, 1, resume=True)
    assert 'training is complete (1 epoch); raise max_epochs to go on' in capsys.readouterr().out


@pytest.mark.thorough
def test_a_short_run_of_deim_without_its_augmentation_is_noted(tmp_path, capsys):
    start(tmp_path, 1, 1, config='deimv2/det_custom.py', size='atto', max_epochs=3, **QUERIES)
    out = capsys.readouterr().out
    assert 'turns RandomPhotometricDistort, RandomZoomOut, RandomIoUCrop off for the last 100 epochs and for the' in out
    assert re.search('turns GridMosaic.* off for the last 100 epochs and for the first 4, which are all 3', out)
    assert 'SwitchAssignerHook gives the head the assigner of the last epochs after 1 of 3' in out


def start_task(tmp_path, task, **options):
    (tmp_path / 'data.yaml').write_text('train: images/train\nval: images/val\nnames: [a]\nkpt_shape: [2, 3]\n')
    config = CONFIGS / 'yolov8' / f'{task}_custom.py'
    own = {'data_yaml': str(tmp_path / 'data.yaml'), 'widen_factor': 0.0625, **SMALL}
    Runner(load_config(config, {**own, **options, 'work_dir': str(tmp_path / 'run')})).train()


def relabel(root, split, line):
    for path in (root / 'labels' / split).iterdir():
        path.write_text(line)


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize(
    ('task', 'with_it', 'without', 'name'),
    [
        ('seg', '0 .1 .1 .9 .1 .9 .9\n', '0 .5 .5 .8 .8\n', 'an outline'),
        ('pose', '0 .5 .5 .8 .8 .4 .4 2 .6 .6 2\n', '0 .5 .5 .8 .8 0 0 0 0 0 0\n', 'keypoints'),
    ],
)
def test_data_without_what_the_task_learns_are_refused(tmp_path, task, with_it, without, name, split):
    for own in ('train', 'val'):
        write_yolo(tmp_path, own, 1)
        relabel(tmp_path, own, without if own == split else with_it)
    who = f"task '{task}'" if split == 'train' else 'CocoMetric'
    with pytest.raises(ConfigError, match=f'{who} needs {name}, but none of the 4 {split} objects .*det_custom.py'):
        start_task(tmp_path, task)
    assert not (tmp_path / 'run').exists()


def test_some_objects_without_an_outline_are_a_note(tmp_path, capsys):
    for own in ('train', 'val'):
        write_yolo(tmp_path, own, 1)
        relabel(tmp_path, own, '0 .1 .1 .9 .1 .9 .9\n')
    (tmp_path / 'labels' / 'train' / '0.txt').write_text('0 .5 .5 .8 .8\n')
    start_task(tmp_path, 'seg')
    assert '1 of the 4 train objects lack an outline: their boxes are learnt as their masks' in capsys.readouterr().out


def test_a_validation_of_classes_that_are_never_trained_is_noted(tmp_path, capsys):
    write_yolo(tmp_path, 'train', 1)
    write_yolo(tmp_path, 'val', 1)
    for path in (tmp_path / 'labels' / 'val').iterdir():
        path.write_text('1 0.5 0.5 0.2 0.2\n')
    (tmp_path / 'data.yaml').write_text('train: images/train\nval: images/val\nnames: [a, b]\n')
    own = {'data_yaml': str(tmp_path / 'data.yaml'), **SMALL, **SHALLOW}
    Runner(load_config(CONFIGS / 'yolov8' / 'det_custom.py', {**own, 'work_dir': str(tmp_path / 'run')})).train()
    assert '1 of the 1 classes that val shows have no object in train' in capsys.readouterr().out


def write_classes(root):
    for split in ('train', 'val'):
        for name, count in (('bolt', 2), ('nut', 1)):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(root / split / name / f'{number}.png')


def test_a_batch_of_one_that_cannot_be_normalised_is_refused(tmp_path):
    write_classes(tmp_path)
    options = dict(data_root=str(tmp_path), num_workers=0, batch_size=2, max_epochs=1, work_dir=str(tmp_path / 'run'))
    config = CONFIGS / 'yolov8' / 'cls_custom.py'
    with pytest.raises(ConfigError, match='the last batch of an epoch is one image, and at 32x32.*drop_last=True'):
        Runner(load_config(config, {**options, 'img_size': 32})).train()
    assert not (tmp_path / 'run').exists()
    Runner(load_config(config, {**options, 'img_size': 64, 'widen_factor': 0.0625})).train()
    assert torch.load(tmp_path / 'run' / 'last.pth', weights_only=True)['meta']['epoch'] == 1
