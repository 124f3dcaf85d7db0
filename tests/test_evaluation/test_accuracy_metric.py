"""``AccuracyMetric``: figures, confusion matrix, table, files; and the fitness made of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from detkit.evaluation.headline import fitness
from detkit.registry import METRICS
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError, DataError

CLASSES = ('ant', 'bee', 'cat', 'dog', 'elk', 'fly')


def make_sample(number: int, gt_label: int, ranked: list[int], **meta) -> DetDataSample:
    """Scores .5, .25, .125, … for the classes in the order ``ranked``."""
    sample = DetDataSample(metainfo=dict(img_path=f'{number:03d}.jpg', img_id=f'x/{number:03d}.jpg', **meta))
    sample.gt_label = gt_label
    sample.pred_scores = torch.zeros(len(ranked))
    sample.pred_scores[ranked] = 0.5 ** torch.arange(1, len(ranked) + 1)
    sample.pred_label = ranked[0]
    return sample


SAMPLES = [
    make_sample(0, 0, [0, 1, 2, 3, 4, 5]),
    make_sample(1, 0, [1, 0, 2, 3, 4, 5]),
    make_sample(2, 1, [5, 4, 3, 2, 1, 0]),
    make_sample(3, 2, [0, 1, 3, 4, 5, 2]),
    make_sample(4, 2, [2, 1, 3, 4, 5, 0]),
]


def evaluate(samples: list[DetDataSample], **options):
    metric = METRICS.build(dict(type='AccuracyMetric', **options))
    metric.dataset_meta = {'classes': CLASSES}
    for sample in samples:
        metric.process(None, [sample])
    return metric, metric.evaluate(len(samples))


def test_figures_and_confusion():
    metric, figures = evaluate(SAMPLES, topk=(1, 2, 5))
    assert figures == {
        'accuracy/top1': pytest.approx(0.4),
        'accuracy/top2': pytest.approx(0.6),
        'accuracy/top5': pytest.approx(0.8),
    }
    expected = np.zeros((6, 6), int)
    expected[0, 0] = expected[0, 1] = expected[1, 5] = expected[2, 0] = expected[2, 2] = 1
    assert (metric.confusion == expected).all() and metric.confusion.dtype == np.int64
    assert [entry['class'] for entry in metric.per_class] == ['all', 'ant', 'bee', 'cat']
    ant = metric.per_class[1]
    assert (ant['images'], ant['top1'], ant['precision'], ant['F1']) == (2, 0.5, 0.5, 0.5)
    bee = metric.per_class[2]
    assert (bee['top1'], bee['precision'], bee['F1']) == (0, 0, 0)
    assert '| all ' in metric.table and '| ant ' in metric.table and 'fly' not in metric.table


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_scores_that_are_no_numbers_are_a_mistake(value, tmp_path):
    sample = make_sample(9, 0, [0, 1, 2, 3, 4, 5])
    sample.pred_scores[3] = value
    metric, figures = evaluate([*SAMPLES, sample], topk=(1, 6), outfile=str(tmp_path / 'found.json'))
    assert figures == {'accuracy/top1': pytest.approx(2 / 6), 'accuracy/top6': pytest.approx(5 / 6)}
    assert metric.confusion.sum() == 5
    ant = metric.per_class[1]
    assert (ant['images'], ant['precision']) == (3, 0.5) and ant['top1'] == pytest.approx(1 / 3)
    assert json.loads((tmp_path / 'found.json').read_text(), parse_constant=pytest.fail)


def test_repeated_images_count_once_and_unreadable_ones_not():
    skipped = make_sample(9, 0, [1, 0, 2, 3, 4, 5], skipped='is truncated')
    _, figures = evaluate([*SAMPLES, SAMPLES[0], SAMPLES[0], skipped])
    assert figures == evaluate(SAMPLES)[1]


def test_few_classes():
    few = [make_sample(0, 0, [0, 1]), make_sample(1, 0, [1, 0])]
    metric = METRICS.build(dict(type='AccuracyMetric', classwise=False))
    metric.process(None, few)  # without class names, and as objects
    assert metric.evaluate(2) == {'accuracy/top1': 0.5, 'accuracy/top5': 1.0}
    assert metric.table == '' and metric.confusion.tolist() == [[1, 1], [0, 0]]


def test_equal_scores_go_to_the_lower_label():
    sample = make_sample(0, 1, [0, 1, 2, 3, 4, 5])
    sample.pred_scores = torch.full((6,), 1 / 6)
    assert evaluate([sample], topk=(1, 2))[1] == {'accuracy/top1': 0.0, 'accuracy/top2': 1.0}


def test_nothing_to_evaluate():
    metric, figures = evaluate([])
    assert figures == {} and metric.confusion is None


def test_a_table_of_many_classes_shows_the_worst():
    samples = []
    metric = METRICS.build(dict(type='AccuracyMetric'))
    metric.dataset_meta = {'classes': [f'c{i:02d}' for i in range(80)]}
    for i in range(80):
        scores = torch.zeros(80)
        scores[i if i % 20 else 79 - i] = 1.0
        sample = make_sample(i, i, list(range(80)))
        sample.pred_scores = scores
        samples.append(sample)
    metric.process(None, samples)
    metric.evaluate(80)
    assert len(metric.per_class) == 81 and metric.table.count('\n') == 4 + 50
    assert all(f'| c{i:02d} ' in metric.table for i in (0, 20, 40, 60))


def test_outfile(tmp_path: Path):
    path = tmp_path / 'deep' / 'answers.json'
    evaluate(SAMPLES, outfile=str(path))
    entries = json.loads(path.read_text())
    assert len(entries) == 5
    assert {key: value for key, value in entries[2].items() if key != 'top5'} == {
        'file_name': '002.jpg',
        'image_id': 'x/002.jpg',
        'category_id': 5,
        'category_name': 'fly',
        'score': 0.5,
        'true_category_id': 1,
        'true_category_name': 'bee',
    }
    assert [c['category_name'] for c in entries[2]['top5']] == ['fly', 'elk', 'dog', 'cat', 'bee']


def test_mistakes():
    for topk in ((), (0,), (1, -2)):
        with pytest.raises(ConfigError, match='topk'):
            METRICS.build(dict(type='AccuracyMetric', topk=topk))
    sample = make_sample(0, 0, [0, 1])
    del sample.gt_label
    with pytest.raises(DataError, match="'000.jpg' holds none.*test_mode=True"):
        METRICS.build(dict(type='AccuracyMetric')).process(None, [sample])


def test_fitness_is_the_mean_of_both_accuracies():
    figures = {'accuracy/top1': 0.6, 'accuracy/top5': 0.9}
    assert fitness(figures) == pytest.approx(0.75) and fitness({'accuracy/top1': 0.6}) == 0.6
    assert fitness(figures, 'accuracy/top1') == 0.6 and fitness({'accuracy/top2': 0.6}) is None
    assert fitness({'coco/bbox_mAP': 0.5, 'coco/bbox_mAP50': 0.7, **figures}) == pytest.approx(0.52 + 0.75)
    assert fitness({'accuracy/cross_entropy': 0.25}, 'accuracy/cross_entropy') == -0.25  # smaller is better


def test_cross_entropy():
    figures = evaluate(SAMPLES, topk=(1,), cross_entropy=True)[1]
    probabilities = [0.5, 0.25, 0.5**5, 0.5**6, 0.5]
    assert figures == {
        'accuracy/top1': pytest.approx(0.4),
        'accuracy/cross_entropy': pytest.approx(-np.log(probabilities).mean()),
    }
    impossible = make_sample(0, 5, [0, 1, 2, 3, 4])
    impossible.pred_scores = torch.tensor([1.0, 0, 0, 0, 0, 0])
    assert 80 < evaluate([impossible], cross_entropy=True)[1]['accuracy/cross_entropy'] < 90
