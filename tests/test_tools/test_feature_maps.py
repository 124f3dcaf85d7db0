"""``tools/analyze/feature_maps.py``."""

from pathlib import Path

import cv2
import pytest
from builders import CONFIGS
from small_models import write_checkpoint, write_images
from tool_helpers import modules_loaded_by_help, run_tool


def test_help_is_light():
    assert modules_loaded_by_help('analyze/feature_maps').isdisjoint({'torch', 'mmengine', 'cv2', 'numpy'})


@pytest.mark.parametrize(
    ('task', 'method'),
    [
        ('seg', 'gradcam'),
        ('seg', 'eigencam'),
        ('det', 'maps'),
        ('cls', 'gradcam'),
        ('cls', 'eigencam'),
        ('pose', 'gradcam'),
        ('obb', 'gradcam'),
    ],
)
def test_the_command_line(task, method, tmp_path: Path, monkeypatch, capsys):
    classes = ('cat', 'dog', 'bird')
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{CONFIGS}/_base_/models/yolov8_{task}.py'\ntask = '{task}'\nclasses = {classes}\n"
        f'model = dict(head=dict(num_classes={len(classes)}))\n'
    )
    checkpoint = write_checkpoint(tmp_path / 'x.pth', task)
    images = write_images(tmp_path / 'images', 2)
    images[0].write_bytes(b'')
    arguments = [
        config,
        checkpoint,
        tmp_path / 'images',
        '--method',
        method,
        '--out',
        tmp_path / 'out',
        '--device',
        'cpu',
        '--img-size',
        64,
    ]
    if method == 'maps':
        arguments += ['--module', 'backbone.stem', 'neck.1']
    assert run_tool(monkeypatch, 'analyze/feature_maps', *arguments) == 0
    out = capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == (
        ['1_backbone.stem.png', '1_neck.1[0].png', '1_neck.1[1].png', '1_neck.1[2].png']
        if method == 'maps'
        else [f'1_{method}.jpg']
    )
    assert f'{len(names)} pictures in' in out and 'skipped' in out and '0.png: is empty' in out
    assert all(cv2.imread(str(tmp_path / 'out' / name)).std() > 5 for name in names)


def test_mistakes_are_sentences(tmp_path: Path, monkeypatch, capsys):
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{CONFIGS}/_base_/models/yolov8_cls.py'\ntask = 'cls'\nclasses = ('a', 'b')\n"
        'model = dict(head=dict(num_classes=2))\n'
    )
    write_images(tmp_path / 'images', 1)
    arguments = [
        config,
        write_checkpoint(tmp_path / 'x.pth', 'cls', ('a', 'b')),
        tmp_path / 'images',
        '--device',
        'cpu',
        '--img-size',
        64,
    ]
    for more, text in (
        (['--module', 'bakbone'], "Did you mean 'backbone'"),
        (['--class', 'c'], "no class 'c'"),
        (['--module', 'head'], 'puts out no feature maps'),
        (['--method', 'maps', '--module', 'head.fc_cls'], 'no feature maps'),
    ):
        assert run_tool(monkeypatch, 'analyze/feature_maps', *arguments, *more) == 2
        assert text in capsys.readouterr().err
    assert run_tool(monkeypatch, 'analyze/feature_maps', *arguments[:2], '--list') == 0
    assert 'backbone.stem  ConvModule' in capsys.readouterr().out
