import random
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from builders import RecordSet
from test_visualization.test_drawing import make_sample
from test_visualization.test_sheets import make_batch

from detkit.analysis.hooks import RunPicturesHook, SavePicturesHook
from detkit.datasets import RepeatDataset
from detkit.evaluation import CocoMetric, Evaluator
from detkit.registry import HOOKS
from detkit.structures.annotations import Annotations, Record
from detkit.structures.data_sample import DetDataSample
from detkit.utils.pictures import unique_name, write_picture


def make_runner(folder: Path, iteration: int = 0) -> SimpleNamespace:
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo={'classes': [f'class {i}' for i in range(6)]}))
    return SimpleNamespace(
        iter=iteration,
        work_dir=str(folder),
        train_dataloader=loader,
        val_dataloader=loader,
        test_dataloader=loader,
        console=SimpleNamespace(line=lambda text: None),
        log_picture=lambda name, image=None, step=None: image is None or write_picture(folder / name, image),
    )


def make_training(folder: Path, samples: list[DetDataSample]) -> tuple[SimpleNamespace, CocoMetric]:
    """A runner that trains, and the metric of its validation, which has ``samples`` to evaluate."""
    runner = make_runner(folder)
    records = [
        Record(
            f'{i}.jpg',
            i,
            (100, 200),
            Annotations(
                np.array([0, 2]), np.array([[0, 0, 20, 10], [40, 50, 160, 90]], np.float32), np.array([False, i == 0])
            ),
        )
        for i in range(3)
    ]
    dataset = RecordSet(records, tuple(runner.val_dataloader.dataset.metainfo['classes']))
    runner.train_dataloader = SimpleNamespace(dataset=RepeatDataset(dataset, times=2))
    metric = CocoMetric(classwise=False)
    metric.dataset_meta = dataset.metainfo
    metric.process(None, samples)
    runner.val_loop = SimpleNamespace(evaluator=Evaluator([metric]))
    runner.train_loop, runner.is_training, runner.cfg = SimpleNamespace(finished=False), True, {}
    return runner, metric


def make_train_batch() -> dict:
    inputs, gt = make_batch('map')
    samples = [DetDataSample(metainfo={'img_path': f'{i}.jpg'}) for i in range(3)]
    return {'inputs': inputs, 'gt': gt, 'data_samples': samples}


def make_val_samples(folder: Path, count: int, first: int = 0) -> list[DetDataSample]:
    samples = []
    for i in range(first, first + count):
        cv2.imwrite(str(folder / f'{i}.png'), np.full((120, 160, 3), 90, np.uint8))
        sample = make_sample()
        sample.set_metainfo({'img_path': str(folder / f'{i}.png'), 'ori_shape': (120, 160)})
        samples.append(sample)
    return samples


def test_first_training_batches(tmp_path: Path):
    hook = HOOKS.build({'type': 'RunPicturesHook', 'train_batches': 2})
    batch = make_train_batch()
    before = batch['inputs'].clone(), batch['gt'].bboxes.clone(), batch['gt'].masks.clone()
    for iteration in range(4):
        hook.before_train_iter(make_runner(tmp_path, iteration), iteration, batch)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['train_batch0.jpg', 'train_batch1.jpg']
    assert cv2.imread(str(tmp_path / 'train_batch0.jpg')).std() > 10
    for tensor, copy in zip((batch['inputs'], batch['gt'].bboxes, batch['gt'].masks), before, strict=True):
        assert torch.equal(tensor, copy)


def test_random_states_are_left_alone(tmp_path: Path):
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    hook = RunPicturesHook()
    samples = make_val_samples(tmp_path, 2)
    runner, metric = make_training(tmp_path, samples)
    hook.before_train_iter(runner, 0, make_train_batch())
    hook.after_val_iter(runner, 0, None, samples)
    hook.after_val_epoch(runner, {})
    (tmp_path / 'results.csv').write_text('epoch,train/box\n1,2\n2,1\n')
    hook.after_train(runner)
    hook.before_val_epoch(runner)
    metric.evaluate(2, keep=True)
    hook.after_run(runner)
    assert {
        'train_batch0.jpg',
        'val_batch0.jpg',
        'results.png',
        'labels.png',
        'pr_curve.png',
        'f1_curve.png',
        'confusion_matrix.png',
        'confusion_matrix.csv',
    } <= {path.name for path in tmp_path.iterdir()}
    assert random.getstate() == states[0] and (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])


def test_only_the_last_validation_is_kept_and_drawn(tmp_path: Path):
    hook = RunPicturesHook()
    runner, metric = make_training(tmp_path, make_val_samples(tmp_path, 2))
    hook.before_val_epoch(runner)
    metric.evaluate(2)
    assert not metric.samples  # more follow
    metric.process(None, make_val_samples(tmp_path, 2))
    hook.before_val_epoch(runner)
    metric.evaluate(2, keep=True)
    assert [Path(sample.img_path).name for sample in metric.samples] == ['0.png', '1.png']
    hook.after_run(runner)
    assert not (tmp_path / 'labels.png').exists()  # it failed before the end of training
    hook.after_train(runner)
    hook.after_run(runner)
    with (tmp_path / 'confusion_matrix.csv').open() as file:
        assert file.readline().startswith('true \\ predicted,class ')
    for name in ('labels', 'pr_curve', 'f1_curve', 'confusion_matrix'):
        assert cv2.imread(str(tmp_path / f'{name}.png')).std() > 5


def test_evaluation_report_may_be_left_out(tmp_path: Path):
    hook = RunPicturesHook(evaluation_report=False)
    runner, metric = make_training(tmp_path, make_val_samples(tmp_path, 1))
    hook.after_train(runner)
    hook.before_val_epoch(runner)
    metric.evaluate(1, keep=True)
    hook.after_run(runner)
    assert [path.name for path in tmp_path.iterdir()] == ['0.png']


def test_a_run_without_validation_still_draws_its_labels(tmp_path: Path):
    hook = RunPicturesHook()
    runner, _ = make_training(tmp_path, [])
    runner.val_loop = None
    hook.after_train(runner)
    hook.after_run(runner)
    assert [path.name for path in tmp_path.iterdir()] == ['labels.png']


def test_validation_samples_are_limited_and_renewed(tmp_path: Path):
    hook = RunPicturesHook(val_images=3)
    runner = make_runner(tmp_path)
    for _ in range(2):
        hook.before_val_epoch(runner)
        for start in (0, 2, 4):
            hook.after_val_iter(runner, 0, None, make_val_samples(tmp_path, 2, start))
        assert len(hook._val_samples) == 3
        hook.after_val_epoch(runner, {})
        assert hook._val_samples == []
    assert cv2.imread(str(tmp_path / 'val_batch0.jpg')).shape[1] == 4 * 160 + 12


def test_unreadable_images_are_not_drawn(tmp_path: Path):
    good, bad = make_val_samples(tmp_path, 2)
    bad.set_metainfo({'skipped': 'is truncated'})
    Path(bad.img_path).unlink()
    hook = RunPicturesHook()
    hook.after_val_iter(make_runner(tmp_path), 0, None, [bad, good])
    hook.after_val_epoch(make_runner(tmp_path), {})
    assert (tmp_path / 'val_batch0.jpg').exists()
    SavePicturesHook(str(tmp_path / 'out')).after_test_iter(make_runner(tmp_path), 0, None, [bad, good])
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['0.jpg']


def test_nothing_without_ground_truth_or_results(tmp_path: Path):
    hook = RunPicturesHook()
    (sample,) = make_val_samples(tmp_path, 1)
    del sample.gt_instances
    hook.after_val_iter(make_runner(tmp_path), 0, None, [sample])
    hook.after_val_epoch(make_runner(tmp_path), {})
    hook.after_train(make_runner(tmp_path))
    hook.before_train_iter(make_runner(tmp_path), 0, {'inputs': torch.zeros(1, 3, 8, 8)})
    assert [path.name for path in tmp_path.iterdir()] == ['0.png']


@pytest.mark.parametrize('ground_truth', [True, False])
def test_pictures_of_a_test(tmp_path: Path, ground_truth: bool):
    hook = SavePicturesHook(str(tmp_path / 'out'), ground_truth=ground_truth)
    samples = make_val_samples(tmp_path, 2)
    (tmp_path / 'more').mkdir()
    hook.after_test_iter(make_runner(tmp_path), 0, None, samples + make_val_samples(tmp_path / 'more', 1))
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['0-2.jpg', '0.jpg', '1.jpg']
    width = cv2.imread(str(tmp_path / 'out' / '0.jpg')).shape[1]
    assert width == (324 if ground_truth else 160)


def test_written_picture_is_rgb(tmp_path: Path):
    img = np.zeros((20, 30, 3), np.uint8)
    img[..., 0] = 255
    write_picture(tmp_path / 'deep' / 'red.png', img)
    assert cv2.imread(str(tmp_path / 'deep' / 'red.png'))[0, 0].tolist() == [0, 0, 255]


def test_unique_names():
    taken: set[str] = set()
    names = [unique_name(stem, '.jpg', taken) for stem in ('a', 'b', 'A', 'a')]
    assert names == ['a.jpg', 'b.jpg', 'A-2.jpg', 'a-3.jpg']
