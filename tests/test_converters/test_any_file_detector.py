"""``Detector`` with weights of other projects: converted in memory to predict, and into a file to train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pickled_files import NARROW

from detkit import Detector
from detkit.config import configs_folder, load_config
from detkit.converters.ultralytics import convert_ultralytics
from detkit.engine import load_checkpoint


@pytest.fixture
def weights(write_ultralytics) -> Path:
    return write_ultralytics('x.pt', dtype=torch.float32)


def test_the_old_line(weights: Path, capsys):
    before = sorted(weights.parent.iterdir())
    img = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    model = Detector(weights, device='cpu')
    picture = model(img, img_size=64, score_thr=0.001)[0].plot()
    assert picture.shape == img.shape and (picture != img).any()
    assert sorted(weights.parent.iterdir()) == before
    assert 'YOLOv8 detection, 3 classes' in capsys.readouterr().out

    target = weights.parent / 'converted' / 'x.pth'
    convert_ultralytics(weights, target, configs_folder())
    expected = Detector(target, device='cpu')(img, img_size=64, score_thr=0.001)[0]
    found = model(img, img_size=64, score_thr=0.001)[0]
    assert len(found) > 0 and (found.bboxes == expected.bboxes).all() and (found.scores == expected.scores).all()


def test_the_config_starts_from_a_converted_file(weights: Path, tiny_data: Path, tmp_path: Path):
    path = Detector(weights, device='cpu').save_config(tmp_path / 'new' / 'mine.py', tiny_data / 'data.yaml', epochs=2)
    config = load_config(path)
    assert config.load_from == str(path.with_suffix('.pth')) and config.model.backbone.widen_factor == NARROW
    assert load_checkpoint(config.load_from)['meta']['converted_from']['file'] == 'x.pt'


@pytest.mark.thorough
def test_training_starts_from_the_weights(weights: Path, tiny_data: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = Detector(weights, device='cpu')
    options = {'optim_wrapper.amp': False, 'default_hooks.pictures': None}
    settings = dict(epochs=1, img_size=64, batch_size=2, num_workers=0, options=options)
    run = model.train(tiny_data / 'data.yaml', **settings)
    assert len(model.classes) == 80 and 'tensors loaded' in (run / 'train.log').read_text()
    config = load_config(run / 'config.py')
    assert config.load_from == str(tmp_path / 'work_dirs' / 'converted' / 'x.pth')  # which another run may start from
    assert load_checkpoint(config.load_from)['meta']['converted_from']['file'] == 'x.pt'
