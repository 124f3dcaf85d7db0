import numpy as np
import pytest
from test_analysis.results import CLASSES, class_precisions, random_results, rotated

from detkit.analysis.errors.bootstrap import mean_precision
from detkit.analysis.errors.matching import match
from detkit.evaluation import CocoMetric, DOTAMetric
from detkit.utils.errors import ConfigError


def coco_metrics(results):
    metric = CocoMetric(metric='bbox', classwise=False)
    metric.dataset_meta = {'classes': CLASSES}
    return metric.compute_metrics(results)


@pytest.mark.parametrize('seed', range(4))
def test_figures_are_those_of_the_coco_metric(seed):
    results = random_results(seed=seed)
    precisions = class_precisions(match(results, CLASSES))[0]  # (C, A, T)
    metrics = coco_metrics(results)
    assert 0.02 < metrics['bbox_mAP'] < 0.98
    assert mean_precision(precisions[:, 0], (0, 1)) == pytest.approx(metrics['bbox_mAP'], abs=1e-12)
    assert mean_precision(precisions[:, 0, 0]) == pytest.approx(metrics['bbox_mAP50'], abs=1e-12)
    for place, area in enumerate('sml', 1):
        assert mean_precision(precisions[:, place], (0, 1)) == pytest.approx(metrics[f'bbox_mAP_{area}'], abs=1e-12)


def test_counts_stand_for_repeated_images():
    results = random_results()
    counts = np.random.default_rng(5).integers(0, 4, (3, len(results)))
    weighted = class_precisions(match(results, CLASSES), counts)
    for row, values in zip(counts, weighted, strict=True):
        repeated = [
            result.new(metainfo={**result.metainfo, 'img_id': f'{result.img_id}-{i}'})
            for result, count in zip(results, row, strict=True)
            for i in range(count)
        ]
        # Equal scores in different images are the one thing whose order matters.
        expected = class_precisions(match(repeated, CLASSES))[0]
        np.testing.assert_allclose(values, expected, atol=0.02)
        assert np.nanmean(np.abs(values - expected)) < 2e-3


def test_counts_stand_for_repeated_images_exactly_where_scores_differ():
    results = random_results()
    for image, result in enumerate(results):
        pred = result.pred_instances
        pred.scores = (np.argsort(np.argsort(pred.scores)) * len(results) + image) / 1000
    counts = np.random.default_rng(5).integers(0, 2, (3, len(results)))  # none twice: a copy has the same scores
    for row, values in zip(counts, class_precisions(match(results, CLASSES), counts), strict=True):
        kept = [result for result, count in zip(results, row, strict=True) if count]
        np.testing.assert_allclose(values, class_precisions(match(kept, CLASSES))[0], atol=1e-12)


def test_rotated_figures_are_those_of_the_dota_metric():
    results = rotated(random_results(seed=2))
    metric = DOTAMetric(classwise=False)
    metric.dataset_meta = {'classes': CLASSES}
    metrics = metric.compute_metrics(results)
    precisions = class_precisions(match(results, CLASSES, 'rbbox'))[0]
    assert 0.02 < metrics['mAP'] < 0.98
    assert mean_precision(precisions[:, 0], (0, 1)) == pytest.approx(metrics['mAP'], abs=1e-12)


def test_places_name_the_predictions_and_the_objects_they_match():
    results = random_results(seed=1)
    for label, matches in enumerate(match(results, CLASSES).per_class):
        assert len(matches.images)
        for image, place, score, matched in zip(
            matches.images, matches.indices, matches.scores, matches.matched[0], strict=True
        ):
            gt, pred = results[image].gt_instances, results[image].pred_instances
            assert pred.labels[place] == label and pred.scores[place] == score
            if matched >= 0:
                assert gt.labels[matched] == label
                assert _iou(pred.bboxes[place], gt.bboxes[matched]) >= 0.5 - 1e-9 or gt.ignored[matched]


def test_no_objects_and_no_predictions():
    results = [r for r in random_results() if r.img_id in (0, 1)]
    results[0].pred_instances = results[0].pred_instances[:0]
    precisions = class_precisions(match(results, CLASSES))
    present = set(results[1].gt_instances.labels[~results[1].gt_instances.ignored])
    for label in range(3):
        assert precisions[0, label, 0, 0] == 0 if label in present else np.isnan(precisions[0, label, 0, 0])


def test_errors():
    with pytest.raises(ConfigError, match="'box'.*bbox"):
        match(random_results(), CLASSES, 'box')
    with pytest.raises(ConfigError, match="no 'segm'"):
        match(random_results(), CLASSES, 'segm')


def _iou(a, b):
    wh = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = np.prod(np.maximum(wh, 0))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)
