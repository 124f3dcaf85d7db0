"""Hand-made predictions, each of one kind of error."""

import numpy as np
import pytest
from test_analysis.results import CLASSES, class_precisions, evaluated, random_results, rotated, with_keypoints

from detkit.analysis.errors.bootstrap import mean_precision
from detkit.analysis.errors.error_types import ERROR_TYPES, FALSE_POSITIVE_TYPES, classify_errors, delta_ap
from detkit.analysis.errors.matching import match, overlaps_of
from detkit.structures.data_sample import DetDataSample

OBJECTS = np.array([[0, 0, 100, 100], [200, 0, 300, 100], [0, 200, 100, 300], [200, 200, 300, 300]], float)
LABELS = np.array([0, 0, 1, 1])


def result(bboxes, labels, scores) -> DetDataSample:
    return evaluated(1, OBJECTS, LABELS, bboxes, labels, scores)


def perfect_but(place: int, bbox=None, label=None) -> DetDataSample:
    """Every object found, but one prediction has another box or class."""
    bboxes, labels = OBJECTS.copy(), LABELS.copy()
    if bbox is not None:
        bboxes[place] = bbox
    if label is not None:
        labels[place] = label
    return result(bboxes, labels, [0.9, 0.8, 0.7, 0.6])


def only(kind: str, found) -> None:
    """The errors are all of one kind, which costs all that is lacking."""
    errors = classify_errors([found], CLASSES)
    delta = delta_ap(errors, 3)
    assert {name for name, number in delta.numbers.items() if number} == {kind}
    assert {name for name, gain in delta.gains.items() if gain > 1e-12} == {kind}
    assert delta.ap50 < 1 and delta.gains[kind] == pytest.approx(1 - delta.ap50)


def test_nothing_wrong():
    delta = delta_ap(classify_errors([result(OBJECTS, LABELS, [0.9, 0.8, 0.7, 0.6])], CLASSES), 3)
    assert delta.ap50 == 1 and not any(delta.gains.values()) and not any(delta.numbers.values())


def test_classification():
    only('classification', perfect_but(3, label=0))


def test_localisation():
    only('localisation', perfect_but(0, bbox=[0, 0, 100, 40]))


def test_missed():
    only('missed', result(OBJECTS[:3], LABELS[:3], [0.9, 0.8, 0.7]))


def test_duplicate():
    only('duplicate', result(OBJECTS[[0, 0, 1, 2, 3]], LABELS[[0, 0, 1, 2, 3]], [0.9, 0.85, 0.8, 0.7, 0.6]))


def test_background():
    only('background', result([*OBJECTS, [120, 120, 180, 180]], [*LABELS, 0], [0.5, 0.5, 0.5, 0.5, 0.9]))


def test_both():
    found = result([*OBJECTS, [0, 60, 100, 160]], [*LABELS, 1], [0.5, 0.5, 0.5, 0.5, 0.9])
    only('both', found)


def test_localisation_of_the_object_leaves_it_not_missed():
    errors = classify_errors([perfect_but(0, bbox=[0, 0, 100, 40])], CLASSES)
    assert not errors.missed.any()
    assert errors.gt_indices[errors.objects[errors.types == FALSE_POSITIVE_TYPES.index('localisation')]].tolist() == [0]


def test_the_surest_of_several_that_are_put_right_stays():
    # Three say class 2 at an object of class 0 that none has: put right, one finds it, the others go.
    found = result(
        [OBJECTS[0], OBJECTS[0] + 1, OBJECTS[0] + 2, *OBJECTS[1:]], [2, 2, 2, 0, 1, 1], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    )
    delta = delta_ap(classify_errors([found], CLASSES), 3)
    assert delta.numbers['classification'] == 3
    assert delta.ap50 + delta.gains['classification'] == pytest.approx(1)


def test_false_positives_and_negatives_together_are_all_that_is_lacking():
    found = result([OBJECTS[0], [120, 120, 180, 180]], [0, 0], [0.5, 0.9])
    delta = delta_ap(classify_errors([found], CLASSES), 3)
    # Class 0: one of two found behind a false one; class 1: none found.
    assert delta.ap50 == pytest.approx((51 / 101 * 0.5) / 2)
    assert delta.false_positives == pytest.approx(51 / 101 / 2 - delta.ap50)
    assert delta.false_negatives == pytest.approx((0.5 + 1) / 2 - delta.ap50)


@pytest.mark.parametrize('kind', ['bbox', 'rbbox', 'keypoints'])
def test_random_results_are_judged_whole(kind):
    results = random_results(num_images=20, seed=4, noise=12.0 if kind == 'keypoints' else 3.0)
    results = {'bbox': list, 'rbbox': rotated, 'keypoints': lambda own: with_keypoints(own, 0.4)}[kind](results)
    errors = classify_errors(results, CLASSES, kind)
    assert len(errors.images) == sum(len(result.pred_instances) for result in results)
    assert ((errors.types >= 0) == (errors.found == 0)).all()
    delta = delta_ap(errors, 3)
    at_50 = class_precisions(match(results, CLASSES, kind, iou_thrs=[0.5]))[0, :, 0]
    assert delta.ap50 == pytest.approx(float(mean_precision(at_50, (0, 1))))
    assert set(delta.gains) == set(ERROR_TYPES) and all(gain >= -1e-9 for gain in delta.gains.values())
    assert sum(number > 0 for number in delta.numbers.values()) >= 4


def test_overlaps_of_keypoints_are_pycocotools():
    rng = np.random.default_rng(0)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    from detkit.evaluation.coco_backends import coco_dataset
    from detkit.evaluation.instance_columns import gather_columns

    found = result(OBJECTS[:2] + 3, [0, 0], [0.9, 0.8])
    truth = np.concatenate([rng.uniform(0, 300, (4, 17, 2)), rng.integers(0, 3, (4, 17, 1))], 2)
    truth[2:, :, 2] = 0  # unlabelled: compared with the place of the box
    found.gt_instances.keypoints, found.gt_instances.labels = truth, np.zeros(4, int)
    found.pred_instances.keypoints = truth[:2, :, :2] + rng.normal(0, 9, (2, 17, 2))
    found.pred_instances.keypoint_scores = np.ones((2, 17))
    sides = []
    for predictions in (False, True):
        side = COCO()
        side.dataset = coco_dataset(gather_columns([found], predictions, 'keypoints'), [found.ori_shape], 1)
        side.createIndex()
        sides.append(side)
    evaluation = COCOeval(*sides, 'keypoints')
    evaluation.evaluate()
    np.testing.assert_allclose(overlaps_of(found, 'keypoints'), evaluation.ious[1, 0], rtol=1e-9)


def test_no_image_has_anything():
    delta = delta_ap(classify_errors([evaluated(1, [], [], [], [], [])], CLASSES), 3)
    assert delta.ap50 == -1 and not any(delta.numbers.values())
