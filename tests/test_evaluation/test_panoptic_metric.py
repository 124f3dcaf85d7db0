"""Panoptic quality: cases worked out by hand, random images against a pixel-by-pixel count, files for other tools."""

import json

import cv2
import numpy as np
import pytest
from mmengine.structures import InstanceData

from detkit.engine.hooks.console_hook import metrics_text
from detkit.evaluation import PanopticMetric
from detkit.evaluation.headline import fitness
from detkit.evaluation.panoptic_metric import match_segments, panoptic_quality
from detkit.structures import DetDataSample, InstanceMasks, PanopticSegments
from detkit.structures.panoptic import rgb_to_ids
from detkit.utils.errors import ConfigError, DataError

META = dict(classes=('cat', 'dog', 'sky'), stuff_labels=(2,), category_ids=(17, 18, 187))


def segments(rows, labels, ignored=None):
    return PanopticSegments(np.array(rows, np.int32), np.array(labels), ignored=ignored)


def sample(truth, predicted, number=1):
    data_sample = DetDataSample(metainfo=dict(img_path=f'{number}.jpg', img_id=number, ori_shape=truth.index_map.shape))
    data_sample.gt_instances = InstanceData(
        labels=truth.labels,
        bboxes=truth.to_instances().bboxes.numpy(),
        ignored=truth.ignored,
        masks=truth.masks.to_rle(),
    )
    data_sample.pred_panoptic = predicted
    return data_sample


def evaluate(pairs, **kwargs):
    metric = PanopticMetric(**kwargs)
    metric.dataset_meta = META
    metric.process(None, [sample(*pair, number) for number, pair in enumerate(pairs, 1)])
    return metric, metric.evaluate(len(pairs))


def test_a_perfect_division_is_one():
    truth = segments([[1, 1, 2, 2], [3, 3, 3, 3]], [0, 1, 2])
    metric, figures = evaluate([(truth, truth)])
    assert figures == {
        f'panoptic/{group}{name}': 1.0 for group in ('', 'things_', 'stuff_') for name in ('PQ', 'SQ', 'RQ')
    }
    assert [row['class'] for row in metric.per_class] == ['cat', 'dog', 'sky']
    assert metric.per_class[2]['kind'] == 'stuff' and '1.000' in metric.table


def test_figures_by_hand():
    """A cat found with IoU 3/4, a dog taken for a cat, half of the sky missed (IoU 1/2 is no match)."""
    truth = segments([[1, 1, 1, 1, 2, 2], [3, 3, 3, 3, 3, 3]], [0, 1, 2])
    predicted = segments([[1, 1, 1, 2, 3, 3], [2, 2, 2, 4, 4, 4]], [0, 2, 0, 1])
    result = match_segments(truth, predicted)
    assert (result.labels.tolist(), result.ious.tolist()) == ([0], [0.75])
    assert sorted(result.false_labels.tolist()) == [0, 1, 2] and sorted(result.missed_labels.tolist()) == [1, 2]
    figures = evaluate([(truth, predicted)])[1]
    assert figures['panoptic/things_PQ'] == pytest.approx((0.75 / 1.5 + 0) / 2)
    assert figures['panoptic/things_SQ'] == pytest.approx(0.75 / 2)
    assert figures['panoptic/things_RQ'] == pytest.approx(1 / 1.5 / 2)
    assert figures['panoptic/stuff_PQ'] == 0
    assert figures['panoptic/PQ'] == pytest.approx(0.5 / 3)


def test_void_counts_for_no_union_and_excuses_what_lies_on_it():
    truth = segments([[1, 1, 1, 0, 0, 0, 0, 0]], [0])
    # Three of the first's five pixels are the cat's, two void; the second has 2 of 3 on void.
    result = match_segments(truth, segments([[1, 1, 1, 1, 1, 0, 0, 0]], [0]))
    assert result.ious.tolist() == [1.0]
    result = match_segments(truth, segments([[0, 0, 1, 1, 1, 2, 2, 2]], [0, 1]))
    assert not len(result.labels) and not len(result.false_labels) and result.missed_labels.tolist() == [0]
    result = match_segments(truth, segments([[0, 1, 1, 1, 0, 0, 0, 0]], [1]))  # two of three on the cat
    assert result.false_labels.tolist() == [1]


def test_a_crowd_excuses_its_class_and_is_never_missed():
    truth = segments([[1, 1, 1, 1, 2, 2]], [0, 2], ignored=[True, False])
    result = match_segments(truth, segments([[1, 1, 2, 2, 3, 3]], [0, 1, 2]))
    assert result.labels.tolist() == [2] and result.false_labels.tolist() == [1] and not len(result.missed_labels)


def test_nothing_predicted_and_nothing_there():
    truth, nothing = segments([[1, 1]], [1]), segments([[0, 0]], [])
    assert evaluate([(truth, nothing)])[1]['panoptic/PQ'] == 0
    assert evaluate([(nothing, nothing)])[1] == {
        f'panoptic/{group}{name}': -1.0 for group in ('', 'things_', 'stuff_') for name in ('PQ', 'SQ', 'RQ')
    }
    assert PanopticMetric().evaluate(0) == {}


def count_slowly(truth, predicted):
    """By the definition, segment by segment: (label, iou) of matches, labels of false ones and of missed ones."""
    found, false, missed = [], [], []
    taken = set()
    for t in range(len(truth)):
        own = truth.index_map == t + 1
        matches = []
        for p in range(len(predicted)):
            other = predicted.index_map == p + 1
            union = (own | other) & ~(other & (truth.index_map == 0))
            if predicted.labels[p] == truth.labels[t] and (own & other).sum() / max(union.sum(), 1) > 0.5:
                matches.append((p, (own & other).sum() / union.sum()))
        if truth.ignored[t]:
            continue
        if matches:
            taken.add(matches[0][0])
            found.append((truth.labels[t], matches[0][1]))
        else:
            missed.append(truth.labels[t])
    for p in range(len(predicted)):
        other = predicted.index_map == p + 1
        crowds = [t + 1 for t in range(len(truth)) if truth.ignored[t] and truth.labels[t] == predicted.labels[p]]
        excused = other & np.isin(truth.index_map, [0, *crowds])
        if p not in taken and other.any() and excused.sum() <= other.sum() / 2:
            false.append(predicted.labels[p])
    return sorted(found), sorted(false), sorted(missed)


def random_segments(rng, count, crowds=False):
    coarse = rng.integers(0, count + 1, (4, 6))
    index_map = np.kron(coarse, np.ones((3, 3), int)).astype(np.int32)
    ignored = rng.random(count) < 0.3 if crowds else None
    return PanopticSegments(index_map, rng.integers(0, 3, count), ignored=ignored)


def test_random_divisions_equal_a_slow_count():
    rng = np.random.default_rng(0)
    total = 0
    for _ in range(60):
        truth = random_segments(rng, 5, crowds=True)
        shaken = np.where(rng.random(truth.index_map.shape) < 0.15, 0, np.roll(truth.index_map, 1, rng.integers(2)))
        predicted = PanopticSegments(shaken, np.where(rng.random(5) < 0.2, 1, truth.labels))
        result = match_segments(truth, predicted)
        found, false, missed = count_slowly(truth, predicted)
        ours = sorted(zip(result.labels, result.ious, strict=True))
        np.testing.assert_allclose(np.array(ours), np.array(found))
        assert sorted(result.false_labels) == false and sorted(result.missed_labels) == missed
        total += len(found)
    assert total > 30


def test_classes_are_averaged_over_images():
    cat = segments([[1, 1, 1, 1]], [0])
    results = [
        match_segments(cat, cat),
        match_segments(cat, segments([[1, 1, 1, 0]], [0])),
        match_segments(cat, segments([[0, 0, 0, 1]], [0])),
    ]
    figures = panoptic_quality(results, 2)
    assert figures['found'].tolist() == [2, 0] and figures['false'].tolist() == [1, 0]
    assert figures['SQ'].tolist() == [0.875, 0] and figures['RQ'][0] == 2 / 3
    assert figures['PQ'][0] == pytest.approx(1.75 / 3)


def test_files_for_other_tools(tmp_path):
    truth = segments([[1, 1, 2, 2], [0, 3, 3, 3]], [0, 2, 1])
    predicted = PanopticSegments(truth.index_map, truth.labels, np.array([0.9, 0.8, 0.7]))
    evaluate([(truth, predicted)], outfile=str(tmp_path / 'out' / 'panoptic.json'))
    (entry,) = json.loads((tmp_path / 'out' / 'panoptic.json').read_text())['annotations']
    assert (entry['image_id'], entry['file_name']) == (1, '1.png')
    assert [(info['id'], info['category_id'], info['area']) for info in entry['segments_info']] == [
        (1, 17, 2),
        (2, 187, 2),
        (3, 18, 3),
    ]
    png = cv2.imread(str(tmp_path / 'out' / 'panoptic' / '1.png'))[..., ::-1]
    np.testing.assert_array_equal(rgb_to_ids(png), truth.index_map)


def test_files_of_images_of_one_name(tmp_path):
    truths = [segments([[1, 1, 2, 2]], [0, 1]), segments([[1, 2, 2, 2]], [0, 1]), segments([[1, 1, 1, 2]], [0, 1])]
    predicted = [PanopticSegments(each.index_map, each.labels, np.array([0.9, 0.8])) for each in truths]
    metric = PanopticMetric(outfile=str(tmp_path / 'panoptic.json'))
    metric.dataset_meta = META
    samples = [sample(*pair) for pair in zip(truths, predicted, strict=True)]
    for each, path in zip(samples, ('a/1.jpg', 'b/1.jpg', 'b/1.PNG'), strict=True):
        each.set_metainfo(dict(img_path=path))
    metric.process(None, samples)
    metric.evaluate(3)
    entries = json.loads((tmp_path / 'panoptic.json').read_text())['annotations']
    found = {}
    for entry in entries:
        png = cv2.imread(str(tmp_path / 'panoptic' / entry['file_name']))[..., ::-1]
        found[entry['image_id']] = rgb_to_ids(png)
    assert len({entry['file_name'] for entry in entries}) == len(list((tmp_path / 'panoptic').iterdir())) == 3
    for truth, path in zip(truths, ('a/1.jpg', 'b/1.jpg', 'b/1.PNG'), strict=True):
        np.testing.assert_array_equal(found[path], truth.index_map)


def test_what_is_missing_is_said():
    truth = segments([[1, 1]], [0])
    lacking = sample(truth, truth)
    del lacking.pred_panoptic
    with pytest.raises(ConfigError, match='DETRSegmentHead'):
        PanopticMetric().process(None, [lacking])
    boxes = sample(truth, truth)
    del boxes.gt_instances.masks
    with pytest.raises(DataError, match='boxes alone'):
        PanopticMetric().process(None, [boxes])
    with pytest.raises(ValueError, match='pixels'):
        match_segments(truth, segments([[1]], [0]))


def test_fitness_counts_the_quality_once():
    figures = {'panoptic/PQ': 0.4, 'panoptic/things_PQ': 0.5, 'panoptic/stuff_PQ': 0.3, 'panoptic/RQ': 0.9}
    assert fitness(figures) == pytest.approx(0.4)
    assert fitness({**figures, 'coco/bbox_mAP': 0.5, 'coco/bbox_mAP50': 0.7}) == pytest.approx(0.92)
    assert metrics_text(figures) == 'PQ 0.400  things PQ 0.500  stuff PQ 0.300'


def test_segments_as_instances():
    found = segments([[0, 1, 1, 2], [0, 1, 1, 0]], [1, 0]).to_instances()
    assert found.bboxes.tolist() == [[1, 0, 3, 2], [3, 0, 4, 1]] and found.labels.tolist() == [1, 0]
    assert isinstance(found.masks, InstanceMasks) and found.masks.areas.tolist() == [4, 1]
    with pytest.raises(ValueError, match='values 0 ... 1'):
        segments([[2]], [0])
