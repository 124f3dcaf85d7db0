"""Tiles and augmented copies through ``Predictor``, ``Detector`` and the command, for each task."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import write_images, write_shallow_checkpoint
from torch import nn

from detkit import Detector
from detkit.cli.main import main
from detkit.engine import load_checkpoint, save_checkpoint
from detkit.inference import Predictor, init_detector
from detkit.structures import DetDataSample
from detkit.utils.errors import ConfigError

TASKS = ('det', 'seg', 'pose', 'obb', 'cls')
DETECTORS = TASKS[:-1]


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp('weights')
    return {task: write_shallow_checkpoint(folder / f'{task}.pth', task) for task in TASKS}


@pytest.fixture(scope='module')
def models(checkpoints: dict[str, Path]) -> dict[str, nn.Module]:
    return {task: init_detector(None, checkpoint) for task, checkpoint in checkpoints.items()}


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_images(tmp_path_factory.mktemp('images'), 2, (150, 220))


def predict(model: nn.Module, images: list[Path], **options) -> list[DetDataSample]:
    return Predictor(model=model, img_size=64, max_per_img=20, **options).predict(images)


def same(first: DetDataSample, second: DetDataSample) -> bool:
    assert first.metainfo.keys() == second.metainfo.keys() and first.img_path == second.img_path
    if 'pred_scores' in first:
        return torch.equal(first.pred_scores, second.pred_scores)
    a, b = first.pred_instances, second.pred_instances
    assert set(a.keys()) == set(b.keys()) and len(a.scores) == len(b.scores) > 0
    equal = [torch.equal(a[name], b[name]) for name in a.keys() if isinstance(a[name], torch.Tensor)]
    if 'masks' in a:
        equal.append(bool((a.masks.to_bool() == b.masks.to_bool()).all()))
    return all(equal)


@pytest.mark.parametrize('task', TASKS)
def test_the_plain_augmentation_alone_is_exactly_no_augmentation(task: str, models, images):
    plain = predict(models[task], images)
    assert all(map(same, predict(models[task], images, tta=['plain']), plain))
    assert all(map(same, predict(models[task], images, tta=False), plain))
    scaled = Predictor(model=models[task], img_size=128, max_per_img=20).predict(images)
    assert all(map(same, predict(models[task], images, tta=[2.0]), scaled))


@pytest.mark.parametrize('task', DETECTORS)
def test_a_single_tile_is_exactly_no_tile(task: str, models, images):
    plain = predict(models[task], images)
    assert all(map(same, predict(models[task], images, tile=220), plain))
    assert all(map(same, predict(models[task], images, tile=(150, 300), tile_overlap=0.5), plain))


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('task', DETECTORS)
def test_tiles_of_each_task(task: str, models, images):
    """Objects lie in the image, best first, and no more than are asked for; the size of a batch changes nothing."""
    found, batched = (predict(models[task], images, tile=64, batch_size=size) for size in (1, 5))
    for sample, other in zip(found, batched, strict=True):
        pred = sample.pred_instances
        assert 0 < len(pred.scores) <= 20 and (pred.scores.diff() <= 0).all() and sample.ori_shape == (150, 220)
        assert pred.bboxes.min() >= 0 and pred.bboxes[:, 2].max() <= 220 and pred.bboxes[:, 3].max() <= 150
        assert torch.allclose(pred.scores, other.pred_instances.scores, atol=1e-3)
        if task == 'seg':
            assert pred.masks.img_shape == (150, 220)
        if task == 'pose':
            assert pred.keypoints.min() >= 0 and pred.keypoints[..., 0].max() <= 220


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('merge', ['nms', 'wbf'])
def test_augmentations_of_each_task(task: str, merge: str, models, images):
    tta = ['plain', 'hflip', 'vflip', 0.75, 'hflip@1.5']
    for sample in predict(models[task], images, tta=tta, tta_merge=merge, score_thr=0.0):
        if task == 'cls':
            assert sample.pred_scores.sum() == pytest.approx(1) and sample.pred_label == sample.pred_scores.argmax()
            continue
        pred = sample.pred_instances
        assert 0 < len(pred.scores) <= 20 and (pred.scores.diff() <= 0).all()
        assert pred.bboxes.min() >= -1e-3 and pred.bboxes[:, 2].max() <= 220.01


def test_a_classifier_s_probabilities_are_averaged(models, images):
    both = predict(models['cls'], images, tta=['plain', 'hflip'])
    single = [predict(models['cls'], images, tta=[name]) for name in ('plain', 'hflip')]
    for mean, *parts in zip(both, *single, strict=True):
        assert torch.allclose(mean.pred_scores, torch.stack([part.pred_scores for part in parts]).mean(0))
    assert not torch.equal(single[0][0].pred_scores, single[1][0].pred_scores)


def test_keypoints_without_known_pairs_are_not_mirrored(checkpoints, images, tmp_path: Path):
    content = load_checkpoint(checkpoints['pose'])
    content['meta']['keypoints'] = {'flip_pairs': None}
    save_checkpoint(content, tmp_path / 'pose.pth')
    model = init_detector(None, tmp_path / 'pose.pth')
    with pytest.raises(ConfigError, match='flip_pairs'):
        predict(model, images, tta=True)
    assert len(predict(model, images, tta=['plain', 0.75])) == 2


def test_an_image_that_cannot_be_read_is_left_out_alone(checkpoints, images, tmp_path: Path):
    (tmp_path / 'broken.png').write_bytes(b'no image')
    results = Detector(checkpoints['det'])([images[0], tmp_path / 'broken.png', images[1]], img_size=64, tile=64)
    assert [result.error is None for result in results] == [True, False, True]


def test_pixels_in_a_mapped_file_are_read_where_they_are(models, tmp_path: Path, monkeypatch):
    scene = np.lib.format.open_memmap(tmp_path / 'scene.npy', 'w+', np.uint8, (300, 400, 3))
    scene[:] = np.random.default_rng(0).integers(0, 256, scene.shape, np.uint8)
    seen = []
    monkeypatch.setattr(
        'detkit.inference.view_predictor.ViewPredictor.predict',
        lambda self, img, *rest: seen.append(img) or DetDataSample(metainfo=dict(ori_shape=img.shape[:2], skipped='')),
    )
    source = np.load(tmp_path / 'scene.npy', mmap_mode='r')
    Predictor(model=models['det'], tile=64).predict(source)
    assert np.shares_memory(seen[0], source)


def test_too_many_pixels_are_refused_with_the_remedy(models, images, monkeypatch):
    monkeypatch.setattr('detkit.inference.preparation.MAX_PIXELS', 100)
    predictor = Predictor(model=models['det'], tile=64)
    predictor._preparation.max_pixels = 100
    (sample, _) = predictor.predict(images)
    assert 'DETKIT_MAX_PIXELS' in sample.skipped and '220x150 pixels' in sample.skipped


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('task', DETECTORS)
def test_the_command(task: str, checkpoints, images, tmp_path: Path, capsys):
    arguments = ['predict', '-', str(checkpoints[task]), *map(str, images), '--img-size', '64', '--max-per-img', '20']
    views = ['--tile', '64', '96', '--tile-overlap', '0.3', '--no-tile-whole', '--tile-merge', 'nms']
    views += ['--tile-metric', 'ios', '--tile-merge-thr', '0.4', '--tta', 'plain', 'vflip', '--tta-merge', 'wbf']
    assert main([*arguments, '--out-dir', str(tmp_path), *views, '--batch-size', '4']) == 0
    entries = json.loads((tmp_path / 'predictions.json').read_text())
    results = Detector(checkpoints[task])(
        images,
        img_size=64,
        max_per_img=20,
        batch_size=4,
        tile=(64, 96),
        tile_overlap=0.3,
        tile_whole=False,
        tile_merge='nms',
        tile_metric='ios',
        tile_merge_thr=0.4,
        tta=['plain', 'vflip'],
        tta_merge='wbf',
    )
    assert entries == json.loads(json.dumps(results.to_coco())) and len(entries) > 0


@pytest.mark.parametrize(
    ('views', 'message'),
    [
        (['--tile', '0'], 'tile is [0], but must be the side of the tiles'),
        (['--tile', '64', '--tile-overlap', '1.5'], 'tile_overlap is 1.5, but must be a number from 0 to 0.9'),
        (['--tta', 'mirror'], "tta has the entry 'mirror'"),
    ],
)
def test_wrong_values_at_the_command_line(views: list[str], message: str, checkpoints, images, tmp_path, capsys):
    arguments = ['predict', '-', str(checkpoints['det']), str(images[0]), '--out-dir', str(tmp_path)]
    assert main([*arguments, *views]) == 2
    assert message in capsys.readouterr().err


def test_a_classifier_is_not_tiled(checkpoints, images):
    with pytest.raises(ConfigError, match='leave tile out'):
        Detector(checkpoints['cls'])(images, tile=64)
