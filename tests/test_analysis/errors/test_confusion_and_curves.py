import numpy as np
import pytest
from test_analysis.results import CLASSES, class_precisions, evaluated, random_results, rotated

from detkit.analysis.errors.confusion import confusion_matrix, pair_up
from detkit.analysis.errors.matching import match
from detkit.analysis.errors.precision_recall import SCORES, class_curves, mean_curves
from detkit.evaluation.average_precision import COCO_RECALLS
from detkit.structures.data_sample import DetDataSample


def one_image(gt, gt_labels, bboxes, labels, scores, ignored=None) -> DetDataSample:
    return evaluated(1, gt, gt_labels, bboxes, labels, scores, ignored)


def test_confusion_by_hand():
    result = one_image(
        [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 80, 10]],
        [0, 1, 2, 2],
        [[0, 0, 10, 10], [20, 0, 30, 9], [100, 0, 110, 10], [40, 0, 50, 10], [60, 0, 70, 10]],
        [0, 2, 1, 2, 0],
        [0.9, 0.8, 0.7, 0.1, 0.6],
        ignored=[False, False, False, True],
    )
    expected = np.zeros((4, 4), int)
    expected[0, 0] = 1  # right
    expected[1, 2] = 1  # another class
    expected[3, 1] = 1  # of background
    expected[2, 3] = 1  # the prediction at the third is too unsure
    # The last one lies on an ignored object.
    np.testing.assert_array_equal(confusion_matrix([result], 3), expected)


def test_the_largest_overlaps_are_paired_first():
    np.testing.assert_array_equal(pair_up(np.array([[0.6, 0.9], [0.7, 0.8]]), 0.5), [[0, 1], [1, 0]])
    assert pair_up(np.zeros((0, 3)), 0.5).shape == (0, 2)


@pytest.mark.parametrize('kind', ['bbox', 'rbbox'])
def test_rows_and_columns_add_up(kind):
    results = random_results(num_images=20)
    results = rotated(results) if kind == 'rbbox' else results
    counts = confusion_matrix(results, 3, kind, score_thr=0)
    objects = np.bincount(
        np.concatenate([r.gt_instances.labels[~r.gt_instances.ignored] for r in results]), minlength=3
    )
    predictions = np.bincount(np.concatenate([r.pred_instances.labels for r in results]), minlength=3)
    np.testing.assert_array_equal(counts[:3].sum(1), objects)
    assert (counts[:, :3].sum(0) <= predictions).all()  # some lie on ignored objects
    assert np.trace(counts[:3, :3]) > objects.sum() / 3


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


def test_no_prediction_and_no_object():
    (curve,) = class_curves(match([one_image([[0, 0, 10, 10]], [1], [], [], [])], CLASSES))
    assert curve.average_precision == 0 and not curve.by_score['recall'].any() and not curve.by_score['f1'].any()
    assert class_curves(match([one_image([], [], [[0, 0, 10, 10]], [1], [0.5])], CLASSES)) == []
    with pytest.raises(ValueError, match='no curves'):
        mean_curves([])
