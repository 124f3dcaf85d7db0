"""Pictures of classifiers: names on images, sheets."""

import numpy as np
import pytest
import torch

from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
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
