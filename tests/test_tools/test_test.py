import json
import shutil
from pathlib import Path

import pytest
import torch
from builders import CONFIGS, read_pictures
from mmengine.hooks import Hook
from small_models import write_checkpoint
from tool_helpers import assert_side_by_side, modules_loaded_by_help, run_test, write_yolo_set
from torch import nn

from detkit.config import load_config
from detkit.datasets.class_names import COCO80
from detkit.engine import Runner
from detkit.engine.evaluate import (
    EvaluationSettings,
    evaluate_checkpoint,
    evaluation_config,
    evaluation_runner,
    metrics_table,
)

CONFIG = CONFIGS / 'yolov8' / 'seg_n_coco8.py'


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A checkpoint, and the options that point the config at a small dataset."""
    folder = tmp_path_factory.mktemp('test')
    root = write_yolo_set(folder / 'data')
    options = [f'data_root={root}', 'img_size=64', 'num_workers=0', 'cache=none']
    return write_checkpoint(folder / 'seg.pth', classes=COCO80), options


def test_prints_figures_and_writes_files(files, tmp_path: Path, monkeypatch, capsys):
    checkpoint, options = files
    code = run_test(monkeypatch, CONFIG, checkpoint, options, tmp_path, '--batch-size', 1)
    printed = capsys.readouterr().out
    assert code == 0
    # the config's test images are those of validation
    assert '2 images of val, 80 classes' in printed and '| dog ' in printed and '| segm |' in printed
    (root,) = (option.partition('=')[2] for option in options if option.startswith('data_root='))
    assert_side_by_side(read_pictures(tmp_path / 'pictures'), sorted((Path(root) / 'images' / 'val').iterdir()))
    entries = json.loads((tmp_path / 'p.json').read_text())
    assert {entry['image_id'] for entry in entries} == {'val0', 'val1'} and 'counts' in entries[0]['segmentation']


def test_on_the_training_images(files, tmp_path: Path, monkeypatch, capsys):
    checkpoint, options = files
    monkeypatch.chdir(tmp_path)
    settings = EvaluationSettings('train', out='p.json', device='cpu')
    metrics = evaluate_checkpoint(str(CONFIG), str(checkpoint), options, settings)
    assert [path.name for path in tmp_path.iterdir()] == ['p.json']  # no run folder
    assert 0 <= metrics['coco/bbox_mAP'] <= 1 and 'coco/segm_mAP50' in metrics
    assert {e['image_id'] for e in json.loads((tmp_path / 'p.json').read_text())} == {'train0', 'train1', 'train2'}
    assert '3 images of train' in capsys.readouterr().out
    half = evaluation_config(load_config(CONFIG, [*options, 'fraction=0.5'], trains=False), str(checkpoint), settings)
    assert half.test_dataloader.dataset.fraction == 0.5


class Watcher(Hook):
    """Counts the normalisations of the network while it predicts, and keeps what it predicts."""

    def __init__(self) -> None:
        self.normalisations, self.scores = [], []

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.normalisations.append(sum(isinstance(layer, nn.BatchNorm2d) for layer in runner.model.modules()))
        self.scores += [sample.pred_instances.scores for sample in outputs]

    after_val_iter = after_test_iter


def test_validation_in_training_and_tests_compute_on_the_fused_network(files):
    checkpoint, options = files
    found = {}
    for split in ('val', 'test'):
        config = load_config(CONFIG, [*options, f'load_from={checkpoint}', 'device=cpu'])
        if split == 'test':
            runner = evaluation_runner(config, str(checkpoint), EvaluationSettings('val', device='cpu'))
        else:
            runner = Runner(config)
        own, watcher = dict(runner.model.named_modules()), Watcher()
        runner.register_hook(watcher)
        found[split] = runner.val() if split == 'val' else runner.test(), watcher
        runner.close()
        assert dict(runner.model.named_modules()) == own
    (in_training, first), (tested, second) = found.values()
    assert in_training == tested
    assert first.normalisations == second.normalisations == [0]
    assert all(map(torch.equal, first.scores, second.scores))


def test_mistakes_end_in_a_sentence(files, tmp_path: Path, monkeypatch, capsys):
    checkpoint, options = files
    truncated = tmp_path / 'truncated.pth'
    truncated.write_bytes(checkpoint.read_bytes()[:1000])
    other = write_checkpoint(tmp_path / 'other.pth', classes=tuple(reversed(COCO80)))
    fewer = write_checkpoint(tmp_path / 'fewer.pth')
    boxes = write_checkpoint(tmp_path / 'boxes.pth', 'det', COCO80)
    for arguments, text in (
        ((tmp_path / 'none.pth',), 'does not exist'),
        ((truncated,), 'truncated'),
        (
            (other,),
            "class 0 'toothbrush', but the test data call it 'person'; give the data the checkpoint's classes in that",
        ),
        ((boxes,), 'are missing from it'),
        ((fewer,), 'on 3 classes, but tested on 80'),
    ):
        assert run_test(monkeypatch, CONFIG, *arguments, options, None) == 2
        error = capsys.readouterr().err
        assert error.startswith('error: ') and text in error and len(error.splitlines()) == 1
    missing = [f'data_root={tmp_path / "nowhere"}']
    assert run_test(monkeypatch, CONFIG, checkpoint, missing, None) == 2
    assert 'nowhere' in capsys.readouterr().err


def test_the_config_of_the_checkpoint_s_run(files, tmp_path: Path, monkeypatch, capsys):
    checkpoint, options = files
    (root,) = (option.partition('=')[2] for option in options if option.startswith('data_root='))
    run = tmp_path / 'run'
    run.mkdir()
    shutil.copy(checkpoint, run / 'best.pth')
    (run / 'config.py').write_text(f"_base_ = 'detkit::yolov8/seg_n_coco8'\ndata_root = {root!r}\nimg_size = 64\n")
    assert run_test(monkeypatch, '-', run / 'best.pth', ['num_workers=0'], None) == 2  # no run wrote into that folder
    assert "a test needs a config, which says on which data ('-' is for prediction)\n" in capsys.readouterr().err
    (run / 'train.log').touch()
    assert run_test(monkeypatch, '-', run / 'best.pth', ['num_workers=0'], None) == 2
    assert f'{run / "config.py"} is that of its run' in capsys.readouterr().err
    assert run_test(monkeypatch, run / 'config.py', run / 'best.pth', ['num_workers=0'], None) == 0
    assert '2 images of val, 80 classes' in capsys.readouterr().out
    assert run_test(monkeypatch, '-', run / 'none.pth', ['num_workers=0'], None) == 2
    assert 'none.pth does not exist' in capsys.readouterr().err


def test_metrics_table():
    text = metrics_table({'coco/bbox_mAP': 0.5, 'coco/bbox_mAP_s': -1.0, 'coco/segm_mAP': 0.25, 'accuracy': 0.125})
    assert '| bbox | 0.5000 |' in text and '| segm | 0.2500 |' in text and text.endswith('accuracy 0.1250')
    assert text.count(' - |') == 2
    classified = metrics_table({'accuracy/top1': 0.5, 'accuracy/cross_entropy': 1.25})
    assert [line.split() for line in classified.splitlines() if '|' in line] == [
        ['|', '|', 'top1', '|', 'cross', 'entropy', '|'],
        ['|', 'accuracy', '|', '0.5000', '|', '1.2500', '|'],
    ]
    assert metrics_table({'accuracy': 0.5}) == 'accuracy 0.5000'


def test_help_needs_no_torch():
    assert not modules_loaded_by_help('test') & {'torch', 'numpy', 'cv2', 'mmengine'}
