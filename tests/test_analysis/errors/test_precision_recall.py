"""Precision and recall: numbers, charts and files."""

import json

import numpy as np
import pytest
from test_analysis.models import model
from test_analysis.results import CLASSES, cells, class_precisions, one_image, random_results, rows_of, seen

from detkit.analysis.errors.error_report import write_errors
from detkit.analysis.errors.matching import match
from detkit.analysis.errors.precision_recall import SCORES, class_curves, mean_curves, plot_against_score, write_curves
from detkit.evaluation.average_precision import COCO_RECALLS


def test_curves_by_hand():
    # Two objects; the surest prediction is right, the next wrong, the last right.
    result = one_image(
        [[0, 0, 10, 10], [20, 0, 30, 10]],
        [0, 0],
        [[0, 0, 10, 10], [100, 0, 110, 10], [20, 0, 30, 10]],
        [0, 0, 0],
        [0.9, 0.6, 0.3],
    )
    (curve,) = class_curves(match([result], CLASSES, iou_thrs=[0.5]))
    assert curve.objects == 2 and curve.label == 0
    at = {score: np.searchsorted(SCORES, score - 1e-9) for score in (0.1, 0.5, 0.7, 0.95)}
    assert curve.by_score['precision'][list(at.values())] == pytest.approx([2 / 3, 0.5, 1, 1])
    assert curve.by_score['recall'][list(at.values())] == pytest.approx([1, 0.5, 0.5, 0])
    assert curve.by_score['f1'][list(at.values())] == pytest.approx([0.8, 0.5, 2 / 3, 0])
    assert SCORES[curve.best] == pytest.approx(0.3)
    assert curve.precision_at[COCO_RECALLS <= 0.5] == pytest.approx(1)
    assert curve.precision_at[COCO_RECALLS > 0.5] == pytest.approx(2 / 3)


def test_average_precision_is_cocos():
    matches = match(random_results(num_images=30, seed=3), CLASSES)
    expected = class_precisions(matches)[0, :, 0, 0]
    curves = class_curves(matches)
    assert [curve.average_precision for curve in curves] == pytest.approx(expected)
    assert mean_curves(curves).average_precision == pytest.approx(expected.mean())


def test_as_many_predictions_count_as_the_metric_counts(tmp_path):
    results, found = random_results(20), {}
    for most in ([2], [1, 100]):
        own = model('a', results, max_dets=most)
        _, every, *_ = cells(write_curves(own, tmp_path))
        of_errors = json.loads(
            (write_errors(own, tmp_path / 'errors', examples=0), tmp_path / 'errors' / 'errors.json')[1].read_text()
        )
        of_classes = class_precisions(match(results, CLASSES, max_dets=most[-1]))[0, :, 0, 0]
        assert float(every[2]) == pytest.approx(of_classes.mean(), abs=1e-3)
        assert of_errors['AP50'] == pytest.approx(of_classes.mean())
        found[most[-1]] = of_errors['AP50']
    assert found[2] < found[100]


def test_no_prediction_and_no_object():
    (curve,) = class_curves(match([one_image([[0, 0, 10, 10]], [1], [], [], [])], CLASSES))
    assert curve.average_precision == 0 and not curve.by_score['recall'].any() and not curve.by_score['f1'].any()
    assert class_curves(match([one_image([], [], [[0, 0, 10, 10]], [1], [0.5])], CLASSES)) == []
    with pytest.raises(ValueError, match='no curves'):
        mean_curves([])


def test_a_class_without_a_right_prediction_has_no_best_threshold(tmp_path):
    result = one_image([[0, 0, 10, 10]], [1], [[50, 50, 60, 60]], [1], [0.5])
    _, every, dog = cells(write_curves(model('a', [result]), tmp_path))
    assert every[1:] == dog[1:] == ['1', '0.000', '0.000']  # neither score nor precision nor recall
    curves = class_curves(match([result], CLASSES))
    axes = plot_against_score(curves, CLASSES, 'f1', 'box F1').axes[0]
    assert axes.get_title() == 'box F1' and not [line for line in axes.lines if line.get_linestyle() == ':']


def test_curves(tmp_path):
    text = write_curves(model('a', random_results(20)), tmp_path, iou_thr=0.75)
    assert {path.name for path in tmp_path.iterdir()} == {
        'pr_curve.png',
        'precision_curve.png',
        'recall_curve.png',
        'f1_curve.png',
        'curves.csv',
    }
    for path in tmp_path.glob('*.png'):
        seen(path)
    header, every, *classes = cells(text)
    assert header[:3] == ['class', 'objects', 'AP75'] and every[0] == 'all'
    values = [float(row[2]) for row in classes]
    assert values == sorted(values) and float(every[2]) == pytest.approx(np.mean(values), abs=1e-3)
    rows = rows_of(tmp_path / 'curves.csv')
    assert rows[0] == ['class', 'curve', 'x', 'y'] and len(rows) == 1 + 3 * 4 * 101
    cat = [float(y) for name, curve, _, y in rows[1:] if (name, curve) == ('cat', 'precision at recall')]
    assert np.mean(cat) == pytest.approx(float(next(row for row in classes if row[0] == 'cat')[2]), abs=1e-3)
