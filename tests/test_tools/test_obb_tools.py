"""Rotated boxes on the command line: test, predict, tile."""

import json
from pathlib import Path

import numpy as np
import pytest
from builders import CONFIGS, read_pictures
from small_models import write_checkpoint
from tiny_obb import write_tiny_obb
from tool_helpers import assert_side_by_side, modules_loaded_by_help, run_test, run_tool

from detkit.datasets.class_names import DOTA15
from detkit.structures.rotated_bboxes import rbbox_corners

CONFIG = CONFIGS / 'yolov8' / 'obb_n_dota8.py'


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tiny_obb(tmp_path_factory.mktemp('obb'))
    write_checkpoint(folder / 'obb.pth', 'obb', DOTA15)
    return folder


def check_entry(entry: dict) -> None:
    cx, cy, w, h, angle = entry['rbbox']
    assert w >= h > 0 and -np.pi / 4 <= angle < 3 * np.pi / 4
    assert rbbox_corners(np.array([entry['rbbox']])).ravel() == pytest.approx(entry['corners'], abs=0.02)


def test_figures_predictions_pictures_and_submission(root, tmp_path, monkeypatch, capsys):
    options = [f'data_root={root / "obb"}', 'img_size=64', 'num_workers=0']
    options.append(f'test_evaluator.submission_dir={tmp_path / "task1"}')
    assert run_test(monkeypatch, CONFIG, root / 'obb.pth', options, tmp_path) == 0
    printed = capsys.readouterr().out
    assert '2 images of val, 15 classes' in printed and 'mAP50-voc07' in printed and '| plane ' in printed
    entries = json.loads((tmp_path / 'p.json').read_text())
    assert entries and {entry['image_id'] for entry in entries} <= {'P0000__64__0___0', 'P0001__64__0___0'}
    check_entry(entries[0])
    assert_side_by_side(read_pictures(tmp_path / 'pictures'), sorted((root / 'obb' / 'images' / 'val').iterdir()))
    lines = [line for file in (tmp_path / 'task1').iterdir() for line in file.read_text().splitlines()]
    assert len(lines) == len(entries) and all(line.split()[0] in ('P0000', 'P0001') for line in lines)


def test_predicts_without_a_data_set(root, tmp_path, monkeypatch, capsys):
    code = run_tool(
        monkeypatch,
        'predict',
        '-',
        root / 'obb.pth',
        root / 'obb/images/val',
        '--device',
        'cpu',
        '--img-size',
        64,
        '--out-dir',
        tmp_path,
        '--iou-thr',
        0.2,
    )
    assert code == 0 and '2 images' in capsys.readouterr().out
    entries = json.loads((tmp_path / 'predictions.json').read_text())
    assert entries and entries[0]['category_name'] in DOTA15 and len(entries[0]['corners']) == 8
    check_entry(entries[0])
    assert len(list(tmp_path.glob('*.jpg'))) == 2


def test_tiles(root, tmp_path, monkeypatch, capsys):
    assert run_tool(monkeypatch, 'tile_dota', root / 'dota/train', tmp_path / 'tiles', '--size', 48) == 0
    assert '2 images cut into 8 tiles with' in capsys.readouterr().out
    assert (tmp_path / 'tiles/images/P0000__64__0___0__48__16___0.jpg').is_file()
    assert run_tool(monkeypatch, 'tile_dota', tmp_path / 'nowhere', tmp_path / 'tiles') == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and 'nowhere' in error and len(error.splitlines()) == 1
    assert not modules_loaded_by_help('tile_dota') & {'torch', 'numpy', 'cv2', 'mmengine'}
