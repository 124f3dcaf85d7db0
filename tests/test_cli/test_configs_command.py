"""``detkit configs``."""

from pathlib import Path

import pytest

from detkit.cli.main import main
from detkit.config import config_names, configs_folder, load_config


def test_each_config_has_a_line_with_its_docstring(capsys):
    assert main(['configs']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == config_names()
    assert all(len(line.split(maxsplit=1)[1]) > 10 and 'http' not in line for line in lines)


def test_words_choose(capsys):
    assert main(['configs', 'POSE', 'coco8']) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ['keypoint_rcnn/pose_r18_coco8', 'yolo11/pose_n_coco8', 'yolo26/pose_n_coco8', 'yolov8/pose_n_coco8']
    assert [line.split()[0] for line in lines] == names
    assert ' '.join(lines[3].split()).startswith('yolov8/pose_n_coco8 YOLOv8 pose on COCO8-pose')
    assert main(['configs', 'yolov8/pose_n_cocoo']) == 2
    assert "Did you mean 'yolov8/pose_n_coco8'" in capsys.readouterr().err


def test_paths(capsys):
    assert main(['configs', 'coco8', '--path']) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert len(paths) > 4 and all(path.is_file() and path.is_relative_to(configs_folder()) for path in paths)


def test_a_size_in_a_name_needs_no_file(capsys):
    assert main(['configs', 'yolov8/seg_m_coco8', '--path']) == 0
    assert capsys.readouterr().out.strip().endswith('yolov8/seg_n_coco8.py')
    assert main(['configs', 'yolov8/seg_m_coco8']) == 0
    assert capsys.readouterr().out.startswith('yolov8/seg_m_coco8  YOLOv8')
    assert main(['configs', 'yolov8/seg_q_coco8']) == 2
    assert 'has the sizes n, s, m, l, x' in capsys.readouterr().err


def test_a_copy_is_one_file_that_loads_to_the_same(tmp_path, capsys):
    assert main(['configs', 'yolov8/seg_n_coco8', '--copy', str(tmp_path / 'own')]) == 0
    copy = tmp_path / 'own' / 'seg_n_coco8.py'
    assert capsys.readouterr().out.strip() == str(copy) and '_base_ =' not in copy.read_text()
    expected = load_config('yolov8/seg_n_coco8', need_classes=False)
    assert load_config(copy, need_classes=False).model == expected.model
    assert load_config(copy, {'max_epochs': 3}, need_classes=False).train_cfg.max_epochs == 3
    assert main(['configs', 'yolov8/seg_n_coco8', '--copy', str(tmp_path / 'own')]) == 2
    assert 'exists already' in capsys.readouterr().err


def test_a_copy_needs_a_name(capsys):
    with pytest.raises(SystemExit, match='2'):
        main(['configs', '--copy', 'there'])
    assert 'Give their names' in capsys.readouterr().err


def test_a_dash_is_the_name_of_no_config(capsys):
    assert main(['analyze', 'confusion-matrix', '-', 'best.pth']) == 2
    assert "no config file -. '-' stands for a checkpoint's own config" in capsys.readouterr().err
