"""Pictures of classifiers: names on images, sheets, the confusion matrix, curves."""

import csv
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from detkit.analysis.errors.confusion_chart import plot_confusion, write_confusion
from detkit.analysis.runs.training_curves import plot_curves, read_results
from detkit.evaluation import AccuracyMetric, CocoMetric, Evaluator
from detkit.registry import HOOKS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.utils.pictures import write_picture
from detkit.visualization import batch_sheet, draw_data_sample, prediction_sheet
from detkit.visualization.classification import verdict
from detkit.visualization.palette import class_colour

CLASSES = ('cloudy', 'rain', 'shine', 'sunrise')
IMG = np.full((90, 140, 3), 90, np.uint8)


def make_sample(gt_label: int | None = 1, scores: tuple[float, ...] = (0.6, 0.3, 0.1, 0.0), path: str = 'a.png'):
    sample = DetDataSample(metainfo=dict(img_path=path, img_id='a', ori_shape=IMG.shape[:2]))
    sample.pred_scores, sample.pred_label = torch.tensor(scores), int(np.argmax(scores))
    if gt_label is not None:
        sample.gt_label = gt_label
    return sample


def has_colour(img: np.ndarray, label: int) -> bool:
    return bool((img == np.array(class_colour(label), np.uint8)).all(2).sum() > 20)


def test_names_are_written_on_their_colours():
    drawn = draw_data_sample(IMG, make_sample(), 'pred', CLASSES, score_thr=0.25)
    assert [has_colour(drawn, label) for label in range(4)] == [True, True, False, False]
    only_best = draw_data_sample(IMG, make_sample(scores=(0.1, 0.1, 0.2, 0.15)), 'pred', CLASSES, score_thr=0.5)
    assert [has_colour(only_best, label) for label in range(4)] == [False, False, True, False]
    truth = draw_data_sample(IMG, make_sample(3), 'gt', CLASSES)
    assert [has_colour(truth, label) for label in range(4)] == [False, False, False, True]
    assert (IMG == 90).all() and drawn.shape == IMG.shape
    with pytest.raises(ValueError, match="'pred' or 'gt'"):
        draw_data_sample(IMG, make_sample(), 'both', CLASSES)
    tiny = draw_data_sample(IMG[:8, :8], make_sample(), 'pred', ('a very long name of a class',) * 4)
    assert tiny.shape == (8, 8, 3)


def test_verdict():
    right, wrong = verdict(make_sample(0), CLASSES), verdict(make_sample(3), CLASSES)
    assert right[0] == 'cloudy 0.60' and wrong[0] == 'cloudy 0.60, is sunrise' and right[1] != wrong[1]
    assert verdict(make_sample(None))[0] == '0 0.60'


def test_sheets():
    samples = [make_sample(label, path=f'{label}.png') for label in (0, 1, 2, 3, 0)]
    sheet = prediction_sheet([IMG, IMG[:, :60], *[IMG] * 3], samples, CLASSES)
    assert sheet.shape[1] == 3 * 140 + 60 + 12 and sheet.shape[0] > 2 * 90 and sheet.dtype == np.uint8
    assert prediction_sheet([IMG], samples[:1], CLASSES).shape[1] == 140
    gt = GtBatch(
        labels=torch.zeros(2, 0, dtype=torch.int64),
        bboxes=torch.zeros(2, 0, 4),
        valid=torch.zeros(2, 0, dtype=torch.bool),
        flat_index=torch.zeros(0, dtype=torch.int64),
        img_shapes=torch.tensor([[32, 32]] * 2),
        class_labels=torch.tensor([2, 0]),
    )
    sheet = batch_sheet(torch.full((2, 3, 32, 32), 90, dtype=torch.uint8), gt, CLASSES, ['a.png', 'b.png'])
    left, right = sheet[:, : sheet.shape[1] // 2], sheet[:, sheet.shape[1] // 2 :]
    assert has_colour(left, 2) and not has_colour(left, 0) and has_colour(right, 0) and not has_colour(right, 2)


def test_confusion_as_numbers_and_picture(tmp_path: Path):
    confusion = np.array([[5, 1, 0, 0], [0, 0, 0, 0], [0, 2, 7, 0], [0, 0, 0, 3]])
    write_confusion(confusion, CLASSES, tmp_path / 'out')
    with open(tmp_path / 'out' / 'confusion_matrix.csv', newline='') as file:
        rows = list(csv.reader(file))
    assert rows[0][1:] == list(CLASSES) and [row[0] for row in rows[1:]] == list(CLASSES)
    assert [[int(value) for value in row[1:]] for row in rows[1:]] == confusion.tolist()
    assert min(cv2.imread(str(tmp_path / 'out' / 'confusion_matrix.png')).shape[:2]) > 300
    axes = plot_confusion(confusion, CLASSES).axes[0]
    assert np.allclose(axes.images[0].get_array(), confusion / np.array([[6], [1], [9], [3]]))
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    assert numbers == {(0, 0): '5', (1, 0): '1', (1, 2): '2', (2, 2): '7', (3, 3): '3'}
    assert [text.get_text() for text in axes.get_yticklabels()] == list(CLASSES)
    large = plot_confusion(np.eye(300, dtype=int), [f'class {i}' for i in range(300)])
    assert not large.axes[0].texts and max(large.get_size_inches()) * large.dpi < 2500


def test_hooks(tmp_path: Path):
    samples = []
    for i in range(3):
        cv2.imwrite(str(tmp_path / f'{i}.png'), IMG)
        samples.append(make_sample(i, path=str(tmp_path / f'{i}.png')))
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo={'classes': CLASSES}))
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


def test_accuracies_share_a_panel(tmp_path: Path):
    (tmp_path / 'results.csv').write_text(
        'epoch,train/cls,metrics/accuracy/top1,metrics/accuracy/top5\n1,1.4,.3,.9\n2,1.1,.5,1\n'
    )
    assert len(plot_curves(read_results(tmp_path / 'results.csv')).axes) == 2
    (tmp_path / 'scalars.json').write_text('{"iter": 3, "accuracy/top1": 0.5, "accuracy/top5": 1.0}\n')
    assert len(plot_curves(read_results(tmp_path / 'scalars.json')).axes) == 1
