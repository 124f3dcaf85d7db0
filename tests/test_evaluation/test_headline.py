"""What metrics declare of their results, and that an own metric needs no list elsewhere."""

import pytest

from detkit.engine.hooks.console_hook import metrics_text
from detkit.evaluation.gathered_metric import GatheredMetric
from detkit.evaluation.headline import chart_title, declaring_metric, fitness, headline_names, higher_is_better
from detkit.registry import METRICS

OURS = [name for name in METRICS.names() if METRICS.get(name).__module__.startswith('detkit.')]


@pytest.mark.parametrize('name', OURS)
def test_every_metric_declares_itself(name):
    metric = METRICS.get(name)
    charted = [result for results in metric.charts.values() for result in results]
    assert metric.headline and len(charted) == len(set(charted))
    assert set(metric.fitness_weights) <= set(metric.headline)
    assert METRICS.build(dict(type=name)).needs
    assert metric.fitness(dict.fromkeys(charted, 0.5)) > metric.fitness(dict.fromkeys(charted, 0.25)) > 0
    assert metric.fitness({'something': 1.0}) is None


@pytest.fixture
def error_metric():
    @METRICS.register_module()
    class ErrorMetric(GatheredMetric):
        default_prefix = 'mine'
        headline = ('error', 'hits')
        charts = {'my error': ('error',), 'my hits': ('hits',)}
        lower_is_better = ('error',)
        fitness_weights = {'hits': 1.0}

    yield ErrorMetric
    METRICS.module_dict.pop('ErrorMetric')


def test_an_own_metric(error_metric):
    results = {'mine/error': 0.25, 'mine/hits': 0.5, 'mine/misses': 3.0}
    assert headline_names(results) == ['mine/error', 'mine/hits']
    assert metrics_text(results) == 'error 0.250  hits 0.500'
    assert chart_title('metrics/mine/error') == 'my error' and chart_title('mine/misses') is None
    assert not higher_is_better('mine/error') and higher_is_better('mine/hits')
    assert fitness(results) == 0.5 and fitness(results, 'mine/error') == -0.25 and fitness(results, 'mine') is None
    assert fitness({**results, 'coco/bbox_mAP': 0.5, 'coco/bbox_mAP50': 0.5}) == pytest.approx(1.0)


def test_another_prefix_and_a_log_of_training():
    assert declaring_metric('val/bbox_mAP') is METRICS.get('CocoMetric')
    assert chart_title('train/top1') == 'accuracy' and chart_title('train/box') is None
    assert fitness({'val/bbox_mAP': 0.5}) == pytest.approx(0.45)


def test_the_sum_of_all_that_end_alike():
    results = {'coco/bbox_mAP': 0.5, 'coco/segm_mAP': 0.25, 'coco/bbox_mAP_s': 0.1, 'dota/mAP': -1.0}
    assert fitness(results, 'mAP') == 0.75
    assert fitness({'panoptic/PQ': 0.4, 'panoptic/things_PQ': 0.5}, 'PQ') == 0.4


@pytest.mark.parametrize('undefined', [-1.0, float('nan')])
def test_undefined_results_say_nothing(undefined):
    nothing = {'coco/bbox_mAP': undefined, 'coco/bbox_mAP50': undefined}
    assert fitness(nothing) is None and fitness(nothing, 'mAP') is None and fitness(nothing, 'coco/bbox_mAP') is None
    assert fitness({**nothing, 'coco/segm_mAP': 0.5}) == 0.45 and fitness({'accuracy/top1': float('nan')}) is None
    assert fitness({'mine/score': -1.0}, 'mine/score') == -1.0  # of a metric that says nothing about its range
