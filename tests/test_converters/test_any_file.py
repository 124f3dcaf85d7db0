"""Files of any project: recognised by what they hold, and converted without writing anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from builders import CONFIGS
from conversions import same_weights
from detr_files import small_detr, write_hub, write_original
from parity.darknet_streams import cfg_path, seeded_stream, write_weights
from small_models import write_checkpoint

from detkit.cli.main import main
from detkit.converters.any_file import is_foreign, load_foreign
from detkit.converters.darknet import convert_darknet
from detkit.converters.detr import convert_detr
from detkit.converters.ultralytics import convert_ultralytics
from detkit.converters.yolov5 import convert_yolov5
from detkit.engine import load_checkpoint
from detkit.inference import detector_of_content
from detkit.utils.errors import CheckpointError


def check(source: Path, convert) -> None:
    """Compare what is made in memory with the file that a converter writes, and build the model from it."""
    target = source.parent / 'written' / 'out.pth'
    convert(source, target, CONFIGS)
    before = sorted(source.parent.iterdir())
    found, expected = load_foreign(source, CONFIGS).checkpoint(), load_checkpoint(target)
    assert sorted(source.parent.iterdir()) == before
    assert is_foreign(source) and not is_foreign(target)
    assert found['meta'] == expected['meta'] and same_weights(found, expected)
    model = detector_of_content(found, source, 'cpu', fuse=False)
    assert model.info.classes == tuple(expected['meta']['classes']) and not model.training
    assert same_weights({'state_dict': model.state_dict()}, expected)


@pytest.mark.parametrize('task', ['det', 'cls'])
def test_ultralytics(write_ultralytics, task):
    check(write_ultralytics(task=task), convert_ultralytics)


@pytest.mark.parametrize('release', ['5', '7'])
def test_yolov5(write_yolov5, release):
    check(write_yolov5(release=release), convert_yolov5)


def test_darknet(tmp_path):
    write_weights(tmp_path / 'tiny.weights', seeded_stream(cfg_path('yolov3_tiny')))
    check(tmp_path / 'tiny.weights', convert_darknet)


def test_detr(tmp_path):
    model = small_detr()
    check(write_hub(tmp_path, model), convert_detr)
    check(write_original(tmp_path / 'original.pth', model), convert_detr)


def test_files_that_are_no_weights(tmp_path):
    for name, text in (('a.pt', 'no zip'), ('a.weights', 'short'), ('a.safetensors', '{}')):
        (tmp_path / name).write_text(text)
        assert is_foreign(tmp_path / name)
        with pytest.raises(CheckpointError, match=name):
            load_foreign(tmp_path / name, CONFIGS)
    with pytest.raises(CheckpointError, match=r'none\.pt does not exist'):
        load_foreign(tmp_path / 'none.pt', CONFIGS)
    torch.save([1, 2], tmp_path / 'list.pt')
    with pytest.raises(CheckpointError, match='list.pt holds no weights'):
        load_foreign(tmp_path / 'list.pt', CONFIGS)
    assert not is_foreign(write_checkpoint(tmp_path / 'own.pth'))


@pytest.mark.parametrize('project', ['torchvision', 'yolox', 'detr', 'rtdetr', 'rfdetr', 'yolov5'])
def test_a_converter_names_the_one_of_another_project_s_file(write_ultralytics, project, capsys):
    source = write_ultralytics(task='det')
    assert main(['convert', project, str(source), str(source.parent / 'out.pth')]) == 2
    message = capsys.readouterr().err
    assert 'detkit convert ultralytics' in message and 'ultralytics.nn.tasks.DetectionModel' in message


def test_a_converter_names_no_other_where_there_is_none(tmp_path, capsys):
    torch.save(torch.nn.Linear(1, 1), tmp_path / 'linear.pth')
    for project in ('ultralytics', 'torchvision'):
        assert main(['convert', project, str(tmp_path / 'linear.pth'), str(tmp_path / 'out.pth')]) == 2
        message = capsys.readouterr().err
        assert 'Linear' in message and 'detkit convert' not in message
