"""``tools/analyze/feature_maps.py``."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS, model_config
from small_models import write_checkpoint, write_images
from tool_helpers import modules_loaded_by_help, run_tool

from detkit.analysis.features import feature_maps
from detkit.engine.checkpoint import save_checkpoint
from detkit.registry import DETECTORS
from detkit.utils.numbers import count_text


def record_drawn(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Record the heat maps ``(h, w)`` and the feature maps ``(C, h, w)`` that are handed to the drawing functions."""
    drawn = []

    def recording(function, position: int):
        def draw(*arguments):
            drawn.append(arguments[position])
            return function(*arguments)

        return draw

    monkeypatch.setattr(feature_maps, 'heat_over', recording(feature_maps.heat_over, 1))
    monkeypatch.setattr(feature_maps, 'channel_sheet', recording(feature_maps.channel_sheet, 0))
    return drawn


def test_help_is_light():
    assert modules_loaded_by_help('analyze/feature_maps').isdisjoint({'torch', 'mmengine', 'cv2', 'numpy'})


@pytest.mark.default_cases(2)
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
    drawn = record_drawn(monkeypatch)
    assert run_tool(monkeypatch, 'analyze/feature_maps', *arguments) == 0
    out = capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == (
        ['1_backbone.stem.png', '1_neck.1[0].png', '1_neck.1[1].png', '1_neck.1[2].png']
        if method == 'maps'
        else [f'1_{method}.jpg']
    )
    assert f'{count_text(len(names), "picture")} in' in out and 'skipped' in out and '0.png is empty' in out
    contrasts = [np.ptp(values) for values in drawn]
    # Grad-CAM leaves a level blank where the gradients of all its channels are negative.
    assert min(contrasts) > 0 if method == 'maps' else max(contrasts) > 0.5


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    ('name', 'task'), [('faster_rcnn', 'det'), ('mask_rcnn', 'seg'), ('keypoint_rcnn', 'pose'), ('yolox', 'det')]
)
def test_a_class_of_regions_and_of_objectness(name, task, tmp_path: Path, monkeypatch, capsys):
    base = 'yolox_nano' if name == 'yolox' else f'{name}_r18'
    classes = ('person',) if task == 'pose' else ('cat', 'dog', 'bird')
    torch.manual_seed(0)
    config = model_config(base, len(classes)).to_dict()
    more = {'keypoint_shape': (17, 3)} if task == 'pose' else {}
    config['head'].update(more)
    text = f'task = {task!r}\nclasses = {classes}\nmodel = {config}\n'
    meta = {'format': 'detkit', 'format_version': 1, 'classes': list(classes), 'task': task, 'config': text}
    save_checkpoint({'meta': meta, 'state_dict': DETECTORS.build(config).state_dict()}, tmp_path / 'x.pth')
    (tmp_path / 'config.py').write_text(text)
    image = write_images(tmp_path / 'images', 1)[0]
    drawn = record_drawn(monkeypatch)
    options = ['--class', classes[-1], '--out', tmp_path / 'out', '--device', 'cpu', '--img-size', 64]
    assert (
        run_tool(monkeypatch, 'analyze/feature_maps', tmp_path / 'config.py', tmp_path / 'x.pth', image, *options) == 0
    )
    assert 'gradcam of neck' in capsys.readouterr().out
    assert (tmp_path / 'out' / '0_gradcam.jpg').is_file() and max(np.ptp(values) for values in drawn) > 0.5


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
