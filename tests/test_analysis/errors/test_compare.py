import copy
from types import SimpleNamespace

import numpy as np
import pytest
from test_analysis.models import answers, better_and_worse, model
from test_analysis.results import evaluated, random_results, rotated

from detkit.analysis.errors import compare as compare_module
from detkit.analysis.errors.bootstrap import Interval
from detkit.analysis.errors.compare import check_tasks, compare, image_scores, in_order, unique_labels, verdict
from detkit.analysis.errors.compare_report import console_tables, pareto_front
from detkit.evaluation import CocoMetric
from detkit.structures.data_sample import is_among_best
from detkit.utils.errors import ConfigError


@pytest.fixture(scope='module')
def found():
    return compare(better_and_worse(), replicates=200)


def test_figures_are_the_metrics(found):
    for place, own in enumerate(found.models):
        metric = CocoMetric(metric='bbox', classwise=False)
        metric.dataset_meta = {'classes': own.classes}
        metrics = metric.compute_metrics(own.results)
        assert [metric.name for metric in found.overall] == ['mAP', 'mAP50']
        for metric in (*found.overall, *found.per_area):
            assert metric.values[place].value == pytest.approx(metrics[f'bbox_{metric.name}'], abs=1e-12)
    assert [metric.group for metric in found.per_class] == list(found.models[0].classes)
    assert sum(metric.objects for metric in found.per_class) == found.headline.objects
    assert found.headline.values[0].value == pytest.approx(
        np.mean([metric.values[0].value for metric in found.per_class])
    )


def test_the_better_model_is_named(found):
    difference = found.headline.differences[0, 1]
    assert difference.value == pytest.approx(found.headline.values[1].value - found.headline.values[0].value)
    assert difference.high < 0
    assert verdict(found.headline, (0, 1), found.labels) == 'exact is better'


def test_equal_models_are_not_told_apart():
    one, other = (model(label, random_results(60)) for label in 'ab')
    found = compare([one, other], replicates=50)
    for metric in (*found.overall, *found.per_area, *found.per_class):
        assert (metric.differences[0, 1].low, metric.differences[0, 1].high) == (0, 0)
        few = f'no verdict: {metric.images} images, 30 needed'
        assert verdict(metric, (0, 1), found.labels) == ('no difference shown' if metric.images >= 30 else few)


def test_few_images_give_no_verdict():
    for number, expected in ((30, 'exact is better'), (29, 'no verdict: 29 images, 30 needed')):
        found = compare(better_and_worse(number), replicates=50)
        assert found.headline.differences[0, 1].excludes_zero
        assert found.headline.images == number and verdict(found.headline, (0, 1), found.labels) == expected
        for metric in found.per_class:
            label = found.models[0].classes.index(metric.group)
            instances = [result.gt_instances for result in found.results[0]]
            assert metric.images == sum((one.labels[~one.ignored] == label).any() for one in instances)


def test_the_order_of_images_does_not_matter(found):
    exact, vague = better_and_worse()
    shuffled = model('vague', vague.results[::-1])
    again = compare([exact, shuffled], replicates=200)
    assert again.headline == found.headline
    assert [result.img_id for result in again.results[1]] == [result.img_id for result in exact.results]


def test_rotated_boxes_and_a_single_model():
    found = compare([model('turned', rotated(random_results(10)), ('rbbox',))], replicates=20)
    assert found.kinds == ('rbbox',) and not found.headline.differences
    assert found.headline.values[0].low <= found.headline.values[0].value <= found.headline.values[0].high


def test_classifiers():
    half, most = np.arange(90) % 2 == 0, np.arange(90) % 10 != 0
    found = compare(
        [model('half', answers(half), ('label',), topk=[1, 5]), model('most', answers(most), ('label',), topk=[1, 5])],
        replicates=300,
    )
    assert [metric.name for metric in found.overall] == ['top1']  # of 3 classes top5 is 1
    assert [value.value for value in found.headline.values] == pytest.approx([0.5, 0.9])
    # The standard error of a share p of n images is sqrt(p (1 - p) / n).
    width = found.headline.values[0].high - found.headline.values[0].low
    assert width == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 90), rel=0.2)
    assert verdict(found.headline, (0, 1), found.labels) == 'most is better'
    assert [metric.objects for metric in found.per_class] == [30, 30, 30]
    np.testing.assert_array_equal(image_scores(found), [half, most])


def test_classifiers_of_many_classes(monkeypatch):
    asked = []
    monkeypatch.setattr(compare_module, 'is_among_best', lambda *args: (asked.append(args), is_among_best(*args))[1])
    found = compare(
        [model('one', answers(np.arange(40) % 2 == 0, 8), ('label',), classes=tuple('abcdefgh'), topk=[1, 5])],
        replicates=20,
    )
    assert [(metric.name, metric.values[0].value) for metric in found.overall] == [('top1', 0.5), ('top5', 0.5)]
    assert len(asked) == 2 * 40  # of each image for top1 and top5, whatever the number of classes


def test_a_single_class():
    own = model('one', answers([True] * 4, 1), ('label',), classes=('a',), topk=[1, 5])
    assert [(metric.name, metric.values[0].value) for metric in compare([own], replicates=2).overall] == [('top1', 1)]


def test_an_image_without_scores_is_a_mistake_of_its_class():
    own = answers([True] * 60)
    own[0].pred_scores, own[3].pred_scores = np.zeros(3), np.zeros(3)  # two of the 20 of class 0
    found = compare([model('one', own, ('label',), topk=[1])], replicates=5)
    assert [metric.values[0].value for metric in (*found.overall, *found.per_class)] == pytest.approx(
        [58 / 60, 0.9, 1, 1]
    )
    assert image_scores(found)[0, :4].tolist() == [0, 1, 1, 0]


def test_f1_of_images():
    results = random_results(3)
    for result in results:
        result.gt_instances.ignored[:] = False
    results[0].pred_instances = results[0].pred_instances[:0]
    gt = results[2].gt_instances
    number = len(gt)
    scores = np.full(number, 0.9)
    scores[0] = 0.1  # one object of n is found too unsurely: F1 2 (n - 1) / (2 n - 1)
    results[2] = evaluated(2, gt.bboxes, gt.labels, gt.bboxes, gt.labels, scores)
    found = compare([model('one', results)], replicates=5)
    assert image_scores(found)[0] == pytest.approx([1, 0, 2 * (number - 1) / (2 * number - 1)])
    assert image_scores(found, score_thr=0.05)[0, 2] == 1


def test_the_metrics_own_number_of_predictions_counts():
    results = random_results(10)
    assert model('a', results, max_dets=[1, 10]).max_dets('bbox') == 10
    assert model('a', results, max_dets=[1, 10]).max_dets('keypoints') is None
    assert model('b', results).max_dets('bbox') is None
    few, all_of_them = (
        compare([model('a', results, max_dets=dets)], replicates=2).headline.values[0].value for dets in ([1], [1, 100])
    )
    assert few < all_of_them


def test_what_cannot_be_compared():
    exact, vague = better_and_worse(5)
    with pytest.raises(ConfigError, match='different tasks.*exact: bbox; names: label'):
        compare([exact, model('names', answers([True] * 5), ('label',), topk=[1])])
    with pytest.raises(ConfigError, match='different classes.*only one has bird, fish'):
        compare([exact, model('b', vague.results, classes=('cat', 'dog', 'fish'))])
    with pytest.raises(ConfigError, match='different classes.*in other order'):
        compare([exact, model('b', vague.results, classes=('dog', 'cat', 'bird'))])
    with pytest.raises(ConfigError, match='exact is evaluated on 5 images and b on 4.* 4 are the same'):
        compare([exact, model('b', vague.results[1:])])
    changed = copy.deepcopy(vague.results)
    changed[3].gt_instances = changed[3].gt_instances[1:]
    with pytest.raises(ConfigError, match=r'different annotations of 1 images \(3\)'):
        compare([exact, model('b', changed)])
    moved = copy.deepcopy(vague.results)
    moved[2].gt_instances.bboxes[0] += 0.01 * max(moved[2].ori_shape)
    compare([exact, model('b', moved)], replicates=2)
    moved[2].gt_instances.bboxes[0] += 0.02 * max(moved[2].ori_shape)
    with pytest.raises(ConfigError, match=r'different annotations of 1 images \(2\)'):
        compare([exact, model('b', moved)])
    with pytest.raises(ConfigError, match='confidence is 95'):
        compare([exact], confidence=95)
    with pytest.raises(ConfigError, match='at least 2 images'):
        compare([model('a', random_results(1))])


def test_ids_that_recur_in_other_folders():
    results = random_results(4)
    for i, result in enumerate(results):
        result.set_metainfo(dict(img_id=i % 2, img_path=f'{i // 2}/{i % 2}.jpg'))
    assert in_order([model('a', results), model('b', results[::-1])])[1] == results
    results[1].set_metainfo(dict(img_path='0/0.jpg'))  # one image of two datasets
    assert in_order([model('a', results), model('b', results)])[1] == results


def test_common_kinds():
    both, one = (
        SimpleNamespace(label=label, classes=('a',), metric=SimpleNamespace(needs=kinds))
        for label, kinds in (('seg', ('bbox', 'segm')), ('det', ('bbox',)))
    )
    assert check_tasks([both, both]) == ('bbox', 'segm')
    assert check_tasks([both, one]) == check_tasks([one, both]) == ('bbox',)


def test_labels():
    assert unique_labels(['a/n.py', 'b/s.py', 'c/n.py']) == ['n-1', 's', 'n-2']
    assert unique_labels(['n.py', 'b/n.py', 'n-1.py']) == ['1-n', '2-n', '3-n-1']
    assert unique_labels(['work_dirs/mine/config.py', 'other.py']) == ['mine', 'other']
    assert unique_labels(['a.py', 'b.py'], ['old', 'new']) == ['old', 'new']
    with pytest.raises(ConfigError, match=r'1 labels \(old\) for 2 models'):
        unique_labels(['a.py', 'b.py'], ['old'])
    with pytest.raises(ConfigError, match='each needs its own'):
        unique_labels(['a.py', 'b.py'], ['old', 'old'])


def test_console(found):
    text = console_tables(found, [Interval(3.2, 3.1, 3.3), Interval(2.0, 1.9, 2.1)])
    assert '| vague - exact ' in text and 'exact is better' in text and '3.2 (3.1 to 3.3)' in text
    assert '40 images drawn anew 200 times' in text and 'too narrow' not in text
    alone = console_tables(compare([model('a', random_results(8))], replicates=5, confidence=0.9))
    assert 'difference' not in alone and '90% intervals' in alone and 'so few images as 8' in alone


def test_pareto_front():
    assert pareto_front([1, 2, 3, 4], [0.1, 0.5, 0.4, 0.6]) == [0, 1, 3]
    assert pareto_front([2, 1, 1], [0.5, 0.5, 0.4]) == [1]
    assert pareto_front([1, 1], [0.5, 0.5]) == [0, 1]
