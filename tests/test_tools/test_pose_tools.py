"""Pose from end to end: training, testing and predicting, with files and pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS, read_pictures
from tool_helpers import assert_side_by_side, run_test, run_tool

from detkit.engine.checkpoint import load_checkpoint
from detkit.inference import Predictor
from detkit.structures.keypoints import COCO_FLIP_PAIRS, COCO_SKELETON

CONFIG = CONFIGS / 'yolov8' / 'pose_n_coco8.py'


@pytest.fixture(scope='module')
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a run of two epochs, and the options it was made with."""
    from detkit.engine import train_from_config

    run = tmp_path_factory.mktemp('runs') / 'pose'
    options = [f'data_root={tiny_data / "pose"}', 'img_size=64', 'num_workers=0', 'batch_size=2', 'epoch_samples=4']
    options.append('widen_factor=0.125')
    train_from_config(
        str(CONFIG), options=[*options, 'max_epochs=2', 'train_cfg.val_interval=1'], work_dir=str(run), device='cpu'
    )
    return run, options


@pytest.mark.thorough
def test_training_writes_losses_figures_and_pictures(trained):
    run, _ = trained
    header = (run / 'results.csv').read_text().splitlines()[0].split(',')
    losses = [name for name in header if name.startswith('train/')]
    assert losses == [f'train/{name}' for name in ('box', 'pose', 'kobj', 'cls', 'dfl')]
    assert any(name.endswith('keypoints_mAP50') for name in header)
    assert {'train_batch0.jpg', 'val_batch0.jpg', 'results.png'} <= read_pictures(run).keys()


def test_a_checkpoint_knows_its_keypoints(trained):
    run, _ = trained
    meta = load_checkpoint(run / 'last.pth')['meta']
    assert tuple(meta['keypoints']['skeleton']) == COCO_SKELETON and meta['task'] == 'pose'
    predictor = Predictor(None, run / 'last.pth', device='cpu', img_size=64)
    assert tuple(predictor.model.info.keypoints['flip_pairs']) == COCO_FLIP_PAIRS


def test_test_and_its_file(trained, tiny_data, tmp_path, monkeypatch, capsys):
    run, options = trained
    assert run_test(monkeypatch, CONFIG, run / 'last.pth', options, tmp_path) == 0
    printed = capsys.readouterr().out
    assert '| keypoints |' in printed and '2 images of val, 1 class' in printed
    assert_side_by_side(read_pictures(tmp_path / 'pictures'), sorted((tiny_data / 'pose' / 'images' / 'val').iterdir()))
    entries = json.loads((tmp_path / 'p.json').read_text())
    assert entries and {len(entry['keypoints']) for entry in entries} == {51}


def test_predict_and_its_file(trained, tiny_data, tmp_path, monkeypatch):
    run, _ = trained
    checkpoint = torch.load(run / 'last.pth', weights_only=True)
    for name, value in checkpoint['state_dict'].items():
        if name.startswith('head.cls_branches') and name.endswith('2.bias'):
            value += 8  # it has learnt next to nothing: some cells shall find something
    torch.save(checkpoint, tmp_path / 'bold.pth')
    code = run_tool(
        monkeypatch,
        'predict',
        '-',
        tmp_path / 'bold.pth',
        tiny_data / 'pose' / 'images' / 'val',
        '--device',
        'cpu',
        '--img-size',
        64,
        '--out-dir',
        tmp_path / 'out',
    )
    assert code == 0
    entries = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert entries and all(entry['category_name'] == 'person' for entry in entries)
    values = np.array([entry['keypoints'] for entry in entries]).reshape(-1, 17, 3)
    assert (values >= 0).all() and (values[..., :2] <= 64).all() and (values[..., 2] <= 1).all()
    assert len(list((tmp_path / 'out').glob('*.jpg'))) == 2
