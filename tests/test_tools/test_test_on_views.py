"""``detkit test`` with sliced inference and test-time augmentation."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
from builders import CONFIGS
from small_models import NARROW, write_checkpoint
from tiny_obb import write_tiny_obb
from tool_helpers import write_yolo_set

from detkit.config import load_config
from detkit.datasets.class_names import COCO80, DOTA15
from detkit.engine import Runner
from detkit.engine.evaluate import EvaluationSettings, evaluation_runner
from detkit.engine.hooks.hook import Hook
from detkit.inference.view_predictor import ViewPredictor
from detkit.utils.errors import ConfigError

SEG, OBB = CONFIGS / 'yolov8' / 'seg_n_coco8.py', CONFIGS / 'yolov8' / 'obb_n_dota8.py'


@pytest.fixture(scope='module')
def seg(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp('seg')
    options = [f'data_root={write_yolo_set(folder / "data")}', 'img_size=64', 'num_workers=0', 'cache=none', NARROW]
    return write_checkpoint(folder / 'seg.pth', classes=COCO80, narrow=True), options


@pytest.fixture(scope='module')
def obb(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp('obb')
    root = write_tiny_obb(folder) / 'obb'
    options = [f'data_root={root}', 'img_size=64', 'num_workers=0', 'cache=none', NARROW]
    return write_checkpoint(folder / 'obb.pth', 'obb', DOTA15, narrow=True), options


def evaluate(config: Path, files: tuple[Path, list[str]], views: dict[str, Any] | None, **settings: Any):
    """Return the metrics and each image's ground truth and predictions."""
    checkpoint, options = files
    loaded = load_config(str(config), options)
    runner = evaluation_runner(loaded, str(checkpoint), EvaluationSettings(device='cpu', views=views, **settings))
    try:
        metrics = runner.test(keep=True)
        return metrics, runner.test_evaluator.sample_metric.samples
    finally:
        runner.close()


@pytest.mark.parametrize(('config', 'files'), [(SEG, 'seg'), (OBB, 'obb')])
def test_views_that_change_nothing(config: Path, files: str, request: pytest.FixtureRequest):
    """One tile over each image and the plain augmentation: the same objects, and so nearly the same metrics."""
    files = request.getfixturevalue(files)
    plain, samples = evaluate(config, files, None)
    tiled, tiled_samples = evaluate(config, files, {'tile': 4096})
    augmented, augmented_samples = evaluate(config, files, {'tta': ['plain']})
    assert tiled == augmented and plain.keys() == tiled.keys()
    for first, *others in zip(samples, tiled_samples, augmented_samples, strict=True):
        for other in others:
            assert first.img_path == other.img_path and first.ori_shape == other.ori_shape
            assert (first.gt_instances.bboxes == other.gt_instances.bboxes).all()
            assert len(other.pred_instances.scores)


@pytest.mark.thorough
@pytest.mark.default_cases(1)
@pytest.mark.parametrize(('config', 'files'), [(SEG, 'seg'), (OBB, 'obb')])
def test_tiles_and_augmentations(config: Path, files: str, request: pytest.FixtureRequest):
    files = request.getfixturevalue(files)
    metrics, samples = evaluate(config, files, {'tile': 48, 'tta': ['plain', 'hflip'], 'tta_merge': 'wbf'})
    assert len(samples) == 2 and all(-1 <= value <= 1 for value in metrics.values())
    for sample in samples:
        found, (height, width) = sample.pred_instances, sample.ori_shape
        assert 0 < len(found.scores) <= 300 and found.bboxes.min() >= 0
        assert found.bboxes[:, 2].max() <= width and found.bboxes[:, 3].max() <= height


def test_each_tile_is_predicted_on_once_in_batches(seg, monkeypatch: pytest.MonkeyPatch):
    views: list[int] = []
    run = ViewPredictor._run

    def counted(self, own, *args):
        views.append(len(own))
        assert self.batch_size == 3
        return run(self, own, *args)

    monkeypatch.setattr(ViewPredictor, '_run', counted)
    evaluate(SEG, seg, {'tile': 32, 'tile_overlap': 0.0}, batch_size=3)
    assert len(views) == 2 and all(count > 4 for count in views)


class HeldHook(Hook):
    """Counts what is still held of earlier batches, with which memory would grow with the number of images."""

    def __init__(self) -> None:
        self.held: list[int] = []
        self._seen: list[weakref.ref] = []

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        runner.test_evaluator.sample_metric._mask_encoder.finish()  # which may still draw them
        gc.collect()
        self.held.append(sum(ref() is not None for ref in self._seen))
        found = [sample.pred_instances for sample in outputs]
        parts = [data_batch['inputs'], *outputs, *found, *(each.masks for each in found), *(e.bboxes for e in found)]
        self._seen += [weakref.ref(part) for part in parts]


@pytest.mark.thorough
@pytest.mark.default_cases(1)
@pytest.mark.parametrize('views', [None, {'tile': 48}])
def test_nothing_is_held_of_earlier_images_but_what_metrics_read(views: dict[str, Any] | None, seg):
    hook = HeldHook()
    checkpoint, options = seg
    settings = EvaluationSettings(device='cpu', views=views, batch_size=1)
    runner = evaluation_runner(load_config(str(SEG), options), str(checkpoint), settings)
    runner.register_hook(hook)
    try:
        runner.test()
    finally:
        runner.close()
    assert hook.held == [0, 0] and len(hook._seen) == 10


def test_wrong_options_name_themselves(seg):
    with pytest.raises(ConfigError, match='tile_overlap is 2'):
        evaluate(SEG, seg, {'tile': 64, 'tile_overlap': 2})
