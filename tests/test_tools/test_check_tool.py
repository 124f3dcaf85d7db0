"""``tools/analyze/check.py``: what would go wrong in a run is found before it begins."""

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from tool_helpers import modules_loaded_by_help, run_tool

from detkit.analysis.runs import run_costs
from detkit.analysis.runs.dry_run import dry_run

CONFIGS = Path(__file__).parents[2] / 'configs'
FAST = ['img_size=64', 'num_workers=0', 'batch_size=2']
SMALL = 'model.backbone.widen_factor=0.125'


def check(config, root, *options):
    """By status, what is found of each title."""
    lines = []
    if config.startswith('yolov8/'):
        options += (SMALL,)
    checks = dry_run(CONFIGS / config, [f'data_root={root}', *FAST, *options], 'cpu', seconds=0.0, show=lines.append)
    found = {'passed': {}, 'warned': {}, 'failed': {}}
    for one in checks.checks:
        found[one.status].setdefault(one.title, f'{one.text} -> {one.remedy}')
    assert lines
    return found


def set_free_disk(monkeypatch, free):
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(run_costs.shutil, 'disk_usage', lambda path: usage(10**13, 10**13 - free, free))


@pytest.fixture
def data(tiny_data, tmp_path):
    """A copy that may be spoilt."""
    for name in ('images', 'labels', 'train2017', 'val2017', 'annotations'):
        shutil.copytree(tiny_data / name, tmp_path / 'data' / name)
    return tmp_path / 'data'


@pytest.mark.thorough
@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    ('config', 'folder', 'options'),
    [
        ('yolov8/seg_n_coco8.py', '', ()),
        ('yolov3/det_spp_coco8.py', '', ('size=tiny',)),
        ('yolov8/pose_n_coco8.py', 'pose', ()),
        pytest.param('yolov5/det_n_coco8.py', '', (), marks=pytest.mark.slow),
        pytest.param('yolov8/obb_n_dota8.py', 'obb', (), marks=pytest.mark.slow),
        ('yolov5/cls_weather.py', 'weather', ()),
    ],
)
def test_nothing_fails(config, folder, options, tiny_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    set_free_disk(monkeypatch, 10**12)
    found = check(config, tiny_data / folder, *options)
    assert found['failed'] == {}
    assert {
        'config',
        'train data',
        'train images',
        'val data',
        'val objects',
        'model',
        'optimiser',
        'training step',
        'last epoch',
        'validation',
        'checkpoint',
        'disk',
        'end of training',
        'memory',
        'time',
    } <= set(found['passed'])
    assert list(tmp_path.iterdir()) == []  # a dry run leaves nothing behind


def test_the_command_line(tiny_data, tmp_path, monkeypatch, capsys):
    options = ['--cfg-options', f'data_root={tiny_data}', *FAST, SMALL]
    arguments = [CONFIGS / 'yolov8/det_n_coco8.py', '--device', 'cpu', '--seconds', 0, '--json', tmp_path / 'x.json']
    assert run_tool(monkeypatch, 'analyze/check', *arguments, *options) == 0
    out = capsys.readouterr().out
    assert 'passed  training step' in out and '0 failed\n' in out and 'checks in' in out
    assert {entry['status'] for entry in json.loads((tmp_path / 'x.json').read_text())} <= {'passed', 'warned'}
    assert run_tool(monkeypatch, 'analyze/check', CONFIGS / 'nothing.py') == 1
    assert 'failed  config' in capsys.readouterr().out


def test_help_is_light():
    assert modules_loaded_by_help('analyze/check').isdisjoint({'torch', 'mmengine', 'cv2', 'numpy'})


def test_masks_that_the_data_lack(data):
    for split in ('train', 'val'):
        for path in (data / 'labels' / split).iterdir():
            path.write_text('0 0.5 0.5 0.4 0.4\n')
    found = check('yolov8/seg_n_coco8.py', data)
    assert "task 'seg' needs an outline of every object, but none of the 2 objects" in found['failed']['train masks']
    assert 'CocoMetric needs an outline' in found['failed']['val masks']
    assert 'polygons' in found['failed']['val masks'] and 'validation' in found['failed']
    assert 'checkpoint' in found['passed']  # the averaged weights are not left in the model


def test_some_objects_without_outline(data):
    next((data / 'labels/val').iterdir()).write_text('0 0.5 0.5 0.4 0.4\n')
    found = check('yolov8/seg_n_coco8.py', data)
    assert (
        '1 of 3 objects of val lack an outline, which CocoMetric needs; their boxes are taken as masks'
        in found['warned']['val masks']
        and not found['failed']
    )


def test_validation_data_without_objects(data):
    for path in (data / 'labels/val').iterdir():
        path.write_text('')
    found = check('yolov8/det_n_coco8.py', data)
    assert 'best.pth would never be chosen' in found['failed']['val objects']


def test_unreadable_images(data):
    for path in [*(data / 'train2017').iterdir(), min((data / 'val2017').iterdir())]:
        path.write_bytes(path.read_bytes()[:-100])
    found = check('yolov8/det_coco.py', data)
    assert 'max_skipped=0.01' in found['failed']['train images'] and 'truncated' in found['failed']['train images']
    assert '1 of a sample of 2 images cannot be read' in found['warned']['val images']
    assert 'none of the 2 images of a group can be read' in found['failed']['training step']


def test_a_missing_folder_of_one_split_does_not_keep_the_other_from_being_checked(data):
    shutil.rmtree(data / 'images/val')
    found = check('yolov8/det_n_coco8.py', data)
    assert 'val' in found['failed']['val data'] and 'train images' in found['passed'] and 'model' in found['passed']
    assert 'nothing was trained' in found['warned']['steps']


@pytest.mark.thorough
def test_classes_that_cannot_be_learnt_and_images_of_both_splits(data):
    for path in (data / 'labels/val').iterdir():
        path.write_text('5 0.5 0.5 0.4 0.4\n')
    found = check('yolov8/det_n_coco8.py', data)
    assert 'val has objects of 1 class that train has none of: bus' in found['warned']['classes']
    found = check('yolov8/det_n_coco8.py', data, 'val_dataloader.dataset.images=images/train')
    assert '2 of 2 validation images are trained on too' in found['warned']['splits']


def test_an_unknown_metric_to_choose_the_best_weights_by(data):
    found = check('yolov8/det_n_coco8.py', data, '+train_cfg.best_metric=coco/bbox_mAP5')
    assert "'coco/bbox_mAP5', which is none of" in found['failed']['validation']
    assert 'coco/bbox_mAP50' in found['failed']['validation']


def test_weights_to_start_from_that_are_not_there(data):
    found = check('yolov8/det_n_coco8.py', data, 'load_from=nothing.pth')
    assert 'nothing.pth does not exist' in found['failed']['optimiser'] and 'training step' not in found['passed']


def test_a_full_disk(data, monkeypatch):
    set_free_disk(monkeypatch, 10**7)
    found = check('yolov8/det_n_coco8.py', data)
    assert '3 checkpoints of' in found['failed']['disk'] and '--work-dir' in found['failed']['disk']


def test_a_time_limit_below_the_time_that_a_run_takes(data):
    found = check(
        'yolov8/det_n_coco8.py',
        data,
        '+default_hooks.time_limit.hours=0.0001',
        '+default_hooks.time_limit.type=TimeLimitHook',
    )
    assert 'does not come to its end' in found['warned']['time limit']


def test_an_error_in_a_component_names_its_line(data, monkeypatch):
    from detkit.models.heads import YOLOv8Head

    def broken(self, preds, gt):
        return {'loss_box': preds['bbox_preds'][0].view(7)}

    monkeypatch.setattr(YOLOv8Head, 'loss', broken)
    found = check('yolov8/det_n_coco8.py', data)
    text = found['failed']['training step']
    assert 'RuntimeError' in text and 'test_check_tool.py, line' in text and 'in broken' in text
    assert 'validation' in found['passed']
