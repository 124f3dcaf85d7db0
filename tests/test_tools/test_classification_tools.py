"""train.py, test.py and predict.py with a classifier."""

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from builders import CONFIGS, read_pictures
from small_models import write_checkpoint, write_images
from tool_helpers import assert_drawn_on, run_predict, run_test, run_tool

from detkit.datasets.collate import collate
from detkit.datasets.transforms.loading import read_image
from detkit.inference import Predictor

CONFIG = CONFIGS / 'yolov8' / 'cls_n_weather.py'
CLASSES = ('cloudy', 'rain', 'shine', 'sunrise')
COLOURS = ((90, 90, 90), (200, 60, 20), (20, 200, 220), (40, 60, 230))


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flat pictures, a colour a class."""
    root = tmp_path_factory.mktemp('weather')
    rng = np.random.default_rng(0)
    for split, count in (('train', 4), ('test', 2)):
        for name, colour in zip(CLASSES, COLOURS, strict=True):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                img = np.clip(np.array(colour) + rng.integers(-20, 20, (40, 56, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(root / split / name / f'{name}{i}.png'), img)
    return root


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp('weights') / 'cls.pth', 'cls', CLASSES)


def options(root: Path) -> list[str]:
    return [f'data_root={root}', 'img_size=64', 'num_workers=0', 'batch_size=4']


@pytest.mark.thorough
def test_training_learns_and_leaves_what_a_run_leaves(root, tmp_path, monkeypatch, capsys):
    run = tmp_path / 'run'
    # Erasing and colour operations are off: colour is all there is to see.
    code = run_tool(
        monkeypatch,
        'train',
        CONFIG,
        '--work-dir',
        run,
        '--device',
        'cpu',
        '--no-amp',
        '--cfg-options',
        *options(root),
        'max_epochs=20',
        'train_cfg.val_interval=20',
        'randaugment_ops=0',
        'erasing_prob=0',
    )
    assert code == 0
    rows = list(csv.DictReader((run / 'results.csv').open()))
    losses = [float(row['train/cls']) for row in rows]
    assert 0.9 < losses[0] < 2 and losses[-1] < 0.6 * losses[0]  # not divided by the batch size
    assert float(rows[-1]['metrics/accuracy/top1']) > 0.5 and float(rows[-1]['train/top1']) > 0.5
    names = {path.name for path in run.iterdir()}
    assert {
        'best.pth',
        'last.pth',
        'train_batch0.jpg',
        'val_batch0.jpg',
        'confusion_matrix.png',
        'confusion_matrix.csv',
        'results.png',
        'labels.png',
    } <= names
    printed = capsys.readouterr().out
    assert 'top1' in printed and '| sunrise ' in printed and 'ImageClassifier' in printed

    # The checkpoint alone says how images are prepared.
    code = run_tool(
        monkeypatch, 'predict', '-', run / 'best.pth', root / 'test', '--out-dir', tmp_path / 'out', '--device', 'cpu'
    )
    entries = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    right = [Path(entry['file_name']).parent.name == entry['category_name'] for entry in entries]
    assert code == 0 and len(right) == 8 and np.mean(right) == float(rows[-1]['metrics/accuracy/top1'])


def test_test_prints_figures_and_writes_files(root, checkpoint, tmp_path, monkeypatch, capsys):
    code = run_test(monkeypatch, CONFIG, checkpoint, options(root), tmp_path)
    printed = capsys.readouterr().out
    assert code == 0 and '8 images of val, 4 classes' in printed
    assert '|   top1 |' in printed and '| rain ' in printed
    drawn = {f'{name}{i}.jpg' for name in CLASSES for i in range(2)}
    assert read_pictures(tmp_path / 'pictures').keys() == drawn | {'confusion_matrix.png'}
    assert (tmp_path / 'pictures' / 'confusion_matrix.csv').read_text().count('\n') >= len(CLASSES)
    entries = json.loads((tmp_path / 'p.json').read_text())
    assert len(entries) == 8 and {entry['true_category_name'] for entry in entries} == set(CLASSES)
    right = np.mean([entry['category_id'] == entry['true_category_id'] for entry in entries])
    assert f'| accuracy | {right:.4f} |' in printed
    assert run_test(monkeypatch, CONFIG, checkpoint, options(root), None, '--split', 'train') == 0
    assert '16 images of train' in capsys.readouterr().out


def test_test_refuses_other_classes(root, tmp_path, monkeypatch, capsys):
    other = write_checkpoint(tmp_path / 'other.pth', 'cls', ('a', *CLASSES[1:]))
    assert run_test(monkeypatch, CONFIG, other, options(root), None) == 2
    assert "calls class 0 'a'" in capsys.readouterr().err


def test_predict_writes_pictures_and_json(checkpoint, tmp_path, monkeypatch, capsys):
    images = write_images(tmp_path / 'images', 2)
    out = tmp_path / 'out'
    assert run_predict(monkeypatch, checkpoint, tmp_path / 'images', out, '--batch-size', 2) == 0
    assert {path.name for path in out.iterdir()} == {'0.jpg', '1.jpg', 'predictions.json'}
    pictures = read_pictures(out)
    assert_drawn_on(pictures, images)
    assert abs(pictures['0.jpg'].astype(int) - cv2.imread(str(images[0])))[:15, :15].max() > 60  # the label's corner
    entries = json.loads((out / 'predictions.json').read_text())
    assert [entry['file_name'] for entry in entries] == [str(path) for path in images]
    for entry in entries:
        top = entry['top5']
        assert len(top) == 4 and sum(answer['score'] for answer in top) == pytest.approx(1, abs=1e-5)
        assert [answer['score'] for answer in top] == sorted((answer['score'] for answer in top), reverse=True)
        assert {key: entry[key] for key in top[0]} == top[0] and CLASSES[entry['category_id']] == entry['category_name']
    printed = capsys.readouterr().out
    assert '2 images, ' in printed and 'objects' not in printed
    assert f'{images[0]}: {entries[0]["category_name"]} {entries[0]["score"]:.2f}, ' in printed


def test_predict_among_some_classes(checkpoint, tmp_path):
    (image,) = write_images(tmp_path / 'images', 1)
    (sample,) = Predictor(None, checkpoint, img_size=64, classes=['rain', 'shine'], device='cpu').predict(image)
    assert sample.pred_label in (1, 2) and sample.pred_scores[[0, 3]].tolist() == [0, 0]


def test_prediction_sees_what_validation_sees(root, checkpoint, tmp_path):
    from detkit.config import load_config
    from detkit.datasets import build_dataloader
    from detkit.inference import SourceImage, init_detector

    config = load_config(CONFIG, [*options(root), 'img_size=48'])
    loader = build_dataloader(config.val_dataloader, seed=0)
    model = init_detector(config, checkpoint, 'cpu')
    batch = next(iter(loader))
    expected = model.val_step(batch)
    for batch_size in (1, 3):
        predictor = Predictor(model=model, batch_size=batch_size)
        assert predictor.classifies and predictor.img_size == 48
        found = predictor.predict([sample.img_path for sample in expected])
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.pred_scores, theirs.pred_scores, atol=1e-5)
    img, packed = predictor.prepare(SourceImage(expected[0].img_path), 0)
    assert (collate([packed])['inputs'][0] == batch['inputs'][0]).all()
    assert (img == read_image(expected[0].img_path)).all()


@pytest.mark.thorough
def test_weather_on_yolov5_s_backbone(root, tmp_path, monkeypatch, capsys):
    for name in ('cls_weather', 'cls_weather_gap_modern'):
        assert (
            run_tool(
                monkeypatch,
                'train',
                CONFIGS / 'yolov5' / f'{name}.py',
                '--work-dir',
                tmp_path / name,
                '--device',
                'cpu',
                '--cfg-options',
                *options(root),
                'max_epochs=2',
                '+model.backbone.widen_factor=0.125',
            )
            == 0
        )
        lines = [line for line in capsys.readouterr().out.splitlines() if line[1:3] == '/2']
        assert len(lines) == 2
        for line in lines:
            assert re.match(r'./2 train cls \S+ top1 \S+  lr \S+  .*  val top1 \S+  cross entropy \S+', line)
        names = {path.name for path in (tmp_path / name).iterdir()}
        assert {'best.pth', 'last.pth', 'results.csv', 'results.png', 'confusion_matrix.png'} <= names
    rows = list(csv.DictReader((tmp_path / 'cls_weather' / 'results.csv').open()))
    best = max(float(row['metrics/accuracy/top1']) for row in rows)

    assert run_tool(monkeypatch, 'analyze/summarize_runs', tmp_path) == 0
    cells = [line.replace(' ', '').split('|')[1:] for line in capsys.readouterr().out.splitlines() if line[0] == '|']
    assert [[row[0], row[2]] for row in cells[1:]] == [['cls_weather', '2'], ['cls_weather_gap_modern', '2']]
    assert all(row[1].replace(',', '').isdigit() for row in cells[1:])  # parameters
    assert cells[0][5] == 'top1' and cells[1][5] == f'{best:.3f}' and cells[1][9] == '' and cells[2][9][0] in '+-'

    # Images are stretched for predicting too.
    assert (
        run_tool(
            monkeypatch,
            'predict',
            '-',
            tmp_path / 'cls_weather' / 'best.pth',
            root / 'test',
            '--out-dir',
            tmp_path / 'out',
            '--device',
            'cpu',
        )
        == 0
    )
    entries = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    right = [Path(entry['file_name']).parent.name == entry['category_name'] for entry in entries]
    assert np.mean(right) == best
