import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from test_analysis.models import answers, model
from test_analysis.results import random_results
from test_visualization.test_classification import CLASSES as WEATHER
from test_visualization.test_classification import IMG as CLASSIFIED
from test_visualization.test_classification import make_sample as make_classified
from test_visualization.test_drawing import make_sample

from detkit.analysis.hooks import RunPicturesHook, SavePicturesHook
from detkit.analysis.runs.run_pictures import write_evaluation_pictures
from detkit.config import load_config
from detkit.engine import Runner
from detkit.evaluation import AccuracyMetric, CocoMetric, Evaluator
from detkit.registry import HOOKS
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError
from detkit.utils.pictures import UniqueNames, write_picture


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


def make_val_samples(folder: Path, count: int, first: int = 0) -> list[DetDataSample]:
    samples = []
    for i in range(first, first + count):
        cv2.imwrite(str(folder / f'{i}.png'), np.full((120, 160, 3), 90, np.uint8))
        sample = make_sample()
        sample.set_metainfo({'img_path': str(folder / f'{i}.png'), 'ori_shape': (120, 160)})
        samples.append(sample)
    return samples


def run(repo: Path, data: Path, work_dir: Path, pictures: dict | None, **options) -> tuple[Runner, dict[str, int]]:
    """A run of two epochs, and how often each picture was logged."""
    config = load_config(
        repo / 'configs' / 'yolov8' / 'det_n_coco8.py',
        {
            'data_root': str(data),
            'img_size': 64,
            'widen_factor': 0.125,
            'batch_size': 2,
            'num_workers': 0,
            'repeat_times': 2,
            'max_epochs': 2,
            'device': 'cpu',
            'optim_wrapper.amp': False,
            'work_dir': str(work_dir),
            **options,
        },
    )
    config.default_hooks.pictures = pictures and dict(type='RunPicturesHook', **pictures)
    runner, logged = Runner(config), {}
    log_picture = runner.log_picture

    def count(name: str, *args, **kwargs) -> None:
        logged[name] = logged.get(name, 0) + 1
        log_picture(name, *args, **kwargs)

    runner.log_picture = count
    runner.train()
    return runner, logged


AFTER_TRAINING = {'results.png', 'labels.png', 'confusion_matrix.png', 'pr_curve.png', 'f1_curve.png'}


@pytest.mark.thorough
def test_a_run_is_drawn_and_stays_the_same(repo: Path, tiny_data: Path, tmp_path: Path):
    drawn, logged = run(repo, tiny_data, tmp_path / 'drawn', {'train_batches': 2})
    once = {'train_batch0.jpg', 'train_batch1.jpg', *AFTER_TRAINING}
    validations = logged.pop('val_batch0.jpg')
    assert logged == dict.fromkeys(once, 1) and validations >= 1
    for name in {*once, 'val_batch0.jpg'}:
        assert cv2.imread(str(tmp_path / 'drawn' / name)) is not None
    with (tmp_path / 'drawn' / 'confusion_matrix.csv').open() as file:
        assert file.readline().startswith('true \\ predicted,')
    plain, logged = run(repo, tiny_data, tmp_path / 'plain', None)
    assert not logged and not list((tmp_path / 'plain').glob('*.jpg'))
    # Drawing uses no random number and changes no batch.
    others = plain.model.state_dict()
    assert all(torch.equal(value, others[name]) for name, value in drawn.model.state_dict().items())


def test_pictures_may_be_left_out(repo: Path, tiny_data: Path, tmp_path: Path):
    settings = {'train_batches': 0, 'val_images': 0, 'evaluation_report': False, 'curves': False}
    assert run(repo, tiny_data, tmp_path, settings)[1] == {}


def test_a_run_without_validation_still_draws_its_labels(repo: Path, tiny_data: Path, tmp_path: Path):
    nothing = dict.fromkeys(('val_dataloader', 'val_evaluator', 'val_cfg'))
    _, logged = run(repo, tiny_data, tmp_path, {'train_batches': 0}, **nothing)
    assert set(logged) == {'results.png', 'labels.png'}


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
    names = UniqueNames()
    given = [names.name(stem, '.jpg') for stem in ('a', 'b', 'A', 'a', 'a-4', 'a')]
    assert given == ['a.jpg', 'b.jpg', 'A-2.jpg', 'a-3.jpg', 'a-4.jpg', 'a-5.jpg']


def test_the_hooks_draw_the_pictures_of_a_classifier(tmp_path: Path):
    samples = []
    for i in range(3):
        cv2.imwrite(str(tmp_path / f'{i}.png'), CLASSIFIED)
        samples.append(make_classified(i, path=str(tmp_path / f'{i}.png')))
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo={'classes': WEATHER}))
    metric = AccuracyMetric()
    metric.confusion = np.eye(4, dtype=int)
    run = tmp_path / 'run'
    runner = SimpleNamespace(
        iter=0,
        work_dir=str(run),
        val_dataloader=loader,
        test_dataloader=loader,
        test_evaluator=Evaluator([CocoMetric(), metric]),
        console=SimpleNamespace(line=lambda text: None),
        log_picture=lambda name, image: write_picture(run / name, image),
    )
    run.mkdir()
    hook = HOOKS.build(dict(type='RunPicturesHook'))
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, None, samples)
    hook.after_val_epoch(runner, {})
    assert sorted(p.name for p in run.iterdir()) == ['val_batch0.jpg']
    hook = HOOKS.build(dict(type='SavePicturesHook', out_dir=str(tmp_path / 'shown')))
    hook.after_test_iter(runner, 0, None, samples)
    hook.after_test_epoch(runner, {})
    assert sorted(p.name for p in (tmp_path / 'shown').iterdir()) == [
        '0.jpg',
        '1.jpg',
        '2.jpg',
        'confusion_matrix.csv',
        'confusion_matrix.png',
    ]
    samples[0].set_metainfo({'img_path': str(tmp_path / 'shown' / '0.jpg')})  # the folder of the images themselves
    with pytest.raises(ConfigError, match='written over the file that it shows'):
        HOOKS.build(dict(type='SavePicturesHook', out_dir=str(tmp_path / 'shown'))).after_test_iter(
            runner, 0, None, samples
        )


def test_tests_refuse_a_folder_with_images_of_theirs(repo: Path, real_data: Path, tmp_path: Path):
    images, file = tmp_path / 'data' / 'images' / 'val', tmp_path / 'file'
    shutil.copytree(real_data / 'coco8-seg', tmp_path / 'data')
    file.touch()
    config = load_config(
        repo / 'configs' / 'yolov8' / 'det_n_coco8.py',
        {'data_root': str(tmp_path / 'data'), 'num_workers': 0, 'device': 'cpu', 'work_dir': str(tmp_path / 'run')},
    )
    for out_dir, text in ((images, 'jpg lies in the folder for the results'), (file, 'file is a file')):
        runner = Runner(config)
        runner.register_hook(HOOKS.build(dict(type='SavePicturesHook', out_dir=str(out_dir))))
        with pytest.raises(ConfigError, match=text):
            runner.test()


def test_what_a_run_leaves(tmp_path):
    write_evaluation_pictures(model('', random_results(8)), tmp_path / 'det')
    assert {path.name for path in (tmp_path / 'det').iterdir()} == {
        'confusion_matrix.png',
        'confusion_matrix.csv',
        'pr_curve.png',
        'f1_curve.png',
    }
    write_evaluation_pictures(model('', answers([True, False] * 3), ('label',)), tmp_path / 'cls')
    assert {path.name for path in (tmp_path / 'cls').iterdir()} == {'confusion_matrix.png', 'confusion_matrix.csv'}
    empty = random_results(2)[1:]
    for result in empty:
        result.gt_instances = result.gt_instances[:0]
    write_evaluation_pictures(model('', empty), tmp_path / 'none')
    assert not (tmp_path / 'none').exists()


def test_many_classes_are_drawn(tmp_path):
    results, names = random_results(60), tuple(f'class {i}' for i in range(60))
    for i, result in enumerate(results):
        for instances in (result.gt_instances, result.pred_instances):
            instances.labels = instances.labels + 19 * (i % 4)
    own = model('a', results, classes=names)
    write_evaluation_pictures(own, tmp_path)
    for name in ('confusion_matrix', 'pr_curve', 'f1_curve'):
        assert cv2.imread(str(tmp_path / f'{name}.png')).std() > 5
