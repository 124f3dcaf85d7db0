"""Average precision of rotated boxes, and the files for DOTA's server."""

import copy
import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from detkit.engine.evaluate import metrics_table
from detkit.evaluation import CocoMetric, DOTAMetric
from detkit.evaluation.average_precision import (
    FALSE,
    IGNORED,
    TRUE,
    average_precision,
    match_coco,
    match_voc,
    precision_recall,
)
from detkit.evaluation.headline import fitness
from detkit.evaluation.rotated_format import merge_tiles, tile_origin, write_submission
from detkit.registry import METRICS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.rotated_bboxes import rbbox_corners, rbbox_hulls
from detkit.utils.errors import ConfigError, DataError

CLASSES = ('plane', 'storage tank', 'ship')


def sample_of(number: int, gt, pred, ignored=None) -> DetDataSample:
    """``gt``: (label, rbbox) each; ``pred``: (label, score, rbbox) each."""
    gt_rbboxes = np.array([box for _, box in gt], np.float32).reshape(-1, 5)
    rbboxes = torch.from_numpy(np.array([box for _, _, box in pred], np.float32).reshape(-1, 5))
    return DetDataSample(
        metainfo=dict(img_path=f'/data/{number}.png', img_id=f'P{number}', ori_shape=(200, 200)),
        gt_instances=InstanceData(
            labels=np.array([label for label, _ in gt], np.int64),
            rbboxes=gt_rbboxes,
            bboxes=rbbox_hulls(gt_rbboxes),
            areas=gt_rbboxes[:, 2:4].prod(1),
            ignored=np.zeros(len(gt), bool) if ignored is None else ignored,
        ),
        pred_instances=InstanceData(
            labels=torch.tensor([label for label, _, _ in pred], dtype=torch.int64),
            rbboxes=rbboxes,
            bboxes=torch.from_numpy(rbbox_hulls(rbboxes.numpy())),
            scores=torch.tensor([score for _, score, _ in pred], dtype=torch.float32),
        ),
    )


def evaluate(samples, metric=None, **options):
    metric = metric or DOTAMetric(**options)
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process(None, samples)
    return metric.evaluate(len(samples)), metric


def random_samples(angles: bool, seed: int = 0, count: int = 12) -> list[DetDataSample]:
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        gt = [
            (
                int(rng.integers(3)),
                [*rng.uniform(20, 180, 2), *rng.uniform(15, 60, 2), rng.uniform(-3, 3) if angles else 0.0],
            )
            for _ in range(rng.integers(0, 8))
        ]
        pred = [
            (
                label if rng.random() < 0.9 else int(rng.integers(3)),
                float(rng.random()),
                np.array(box) + rng.normal(size=5) * [3, 3, 3, 3, 0.05 if angles else 0],
            )
            for label, box in gt
            for _ in range(rng.integers(0, 3))
        ]
        pred += [
            (int(rng.integers(3)), float(rng.random()) * 0.6, [*rng.uniform(20, 180, 2), 30, 20, 0.0])
            for _ in range(rng.integers(0, 3))
        ]
        samples.append(sample_of(number, gt, pred, rng.random(len(gt)) < 0.2))
    return samples


def test_images_without_objects():
    figures, metric = evaluate([sample_of(0, [], []), sample_of(1, [], [(0, 0.9, [50, 50, 20, 10, 0.3])])])
    assert figures == {'dota/mAP': -1, 'dota/mAP50': -1, 'dota/mAP75': -1, 'dota/mAP50-voc07': -1}
    assert metric.per_class[0]['objects'] == 0 and len(metric.per_class) == 1
    assert evaluate([])[0] == {}


def test_objects_that_nothing_finds():
    figures, _ = evaluate([sample_of(0, [(1, [50, 50, 20, 10, 0.3])], [])])
    assert set(figures.values()) == {0.0}


def test_what_is_found_exactly():
    box, other = [50, 50, 40, 10, 0.3], [120, 90, 60, 20, 2.0]
    same = [50, 50, 10, 40, 0.3 + np.pi / 2]  # the same rectangle, written another way
    figures, metric = evaluate([sample_of(0, [(0, box), (2, other)], [(0, 0.9, same), (2, 0.8, other)])])
    assert list(figures.values()) == pytest.approx([1] * 4)
    assert [entry['class'] for entry in metric.per_class] == ['all', 'plane', 'ship']
    assert '| ship ' in metric.table and 'mAP50-voc07' in metric.table
    crossed = [50, 50, 40, 10, 0.3 + np.pi / 2]
    assert evaluate([sample_of(0, [(0, box)], [(0, 0.9, crossed)])])[0]['dota/mAP50'] == 0
    assert evaluate([sample_of(0, [(0, box)], [(1, 0.9, box)])])[0]['dota/mAP50'] == 0


def test_difficult_objects_neither_help_nor_harm():
    box, hard = [50, 50, 40, 10, 0.3], [120, 90, 60, 20, 2.0]
    gt, ignored = [(0, box), (0, hard)], np.array([False, True])
    for pred in ([(0, 0.9, box)], [(0, 0.9, hard), (0, 0.8, box), (0, 0.7, hard)]):
        figures, metric = evaluate([sample_of(0, gt, pred, ignored)])
        assert list(figures.values()) == pytest.approx([1] * 4)
        assert metric.per_class[0]['objects'] == 1


def test_upright_boxes_are_measured_as_by_pycocotools():
    samples = random_samples(angles=False)
    for sample in samples:  # COCO measures the overlap with a crowd in another way
        sample.gt_instances.ignored[:] = False
    ours, _ = evaluate(samples)
    theirs, _ = evaluate(samples, CocoMetric(max_dets=(1, 10, 1000)))
    for name in ('mAP', 'mAP50', 'mAP75'):
        assert ours[f'dota/{name}'] == pytest.approx(theirs[f'coco/bbox_{name}'], abs=1e-6)
    assert 0.1 < ours['dota/mAP'] < 0.9


def test_order_and_repetition_of_images_do_not_matter():
    samples = random_samples(angles=True)
    figures, _ = evaluate(samples)
    again, _ = evaluate([*samples[5:], *samples[:7]])
    assert again == pytest.approx(figures)
    assert figures['dota/mAP50'] > figures['dota/mAP75'] > 0


def test_voc_counts_the_second_find_of_an_object_as_false():
    overlaps = np.array([[0.9, 0.6], [0.8, 0.7], [0.1, 0.2], [0.0, 0.55]])
    assert match_voc(overlaps, np.array([False, False])).tolist() == [TRUE, FALSE, FALSE, TRUE]
    # COCO gives the second the object that is still free.
    assert match_coco(overlaps, np.array([False, False]), np.array([0.5, 0.75])).tolist() == [
        [TRUE, TRUE, FALSE, FALSE],
        [TRUE, FALSE, FALSE, FALSE],
    ]
    assert match_voc(overlaps, np.array([True, False])).tolist() == [IGNORED, IGNORED, FALSE, TRUE]
    assert match_coco(overlaps, np.array([True, False]), np.array([0.5])).tolist() == [[TRUE, IGNORED, FALSE, FALSE]]
    assert match_voc(np.array([[0.5]]), np.array([False])).tolist() == [FALSE]  # more than a half is asked for
    assert match_coco(np.array([[0.5]]), np.array([False]), np.array([0.5])).tolist() == [[TRUE]]
    assert match_coco(np.zeros((2, 0)), np.zeros(0, bool), np.array([0.5])).tolist() == [[FALSE, FALSE]]


def test_interpolations():
    found = np.array([TRUE, FALSE, TRUE, IGNORED, FALSE])
    precision, recall = precision_recall(found, 4)
    assert precision == pytest.approx([1, 0.5, 2 / 3, 0.5]) and recall == pytest.approx([0.25, 0.25, 0.5, 0.5])
    # 3 of 11 recalls up to .25 at precision 1, then .3, .4, .5 at 2/3.
    assert average_precision(found, 4, 'voc07') == pytest.approx((3 + 3 * 2 / 3) / 11)
    assert average_precision(found, 4) == pytest.approx((26 + 25 * 2 / 3) / 101)
    assert average_precision(found[:0], 4) == 0 and average_precision(found, 0) == -1


def test_models_and_data_of_upright_boxes_are_refused():
    sample = sample_of(0, [(0, [50, 50, 40, 10, 0.3])], [(0, 0.9, [50, 50, 40, 10, 0.3])])
    upright = copy.deepcopy(sample)
    del upright.pred_instances.rbboxes
    with pytest.raises(ConfigError, match='CocoMetric'):
        evaluate([upright])
    upright = copy.deepcopy(sample)
    del upright.gt_instances.rbboxes
    with pytest.raises(DataError, match='DotaDataset'):
        evaluate([upright])
    with pytest.raises(DataError, match='test_mode'):
        evaluate([DetDataSample(metainfo=sample.metainfo, pred_instances=sample.pred_instances)])
    assert evaluate([sample, DetDataSample(metainfo={'skipped': 'broken'})])[0]['dota/mAP'] == pytest.approx(1)


def test_predictions_as_json(tmp_path):
    box = [50, 60, 40, 10, 0.3]
    evaluate([sample_of(7, [], [(1, 0.4, [9, 9, 9, 9, 0]), (2, 0.9, box)])], outfile=str(tmp_path / 'a' / 'p.json'))
    first, second = json.loads((tmp_path / 'a' / 'p.json').read_text())
    assert first['image_id'] == 'P7' and first['category_id'] == 2 and first['score'] == pytest.approx(0.9)
    assert first['rbbox'] == pytest.approx(box) and second['category_id'] == 1
    corners = rbbox_corners(np.array([box]))[0]
    assert np.reshape(first['corners'], (4, 2)) == pytest.approx(corners, abs=1e-2)
    assert first['bbox'][:2] == pytest.approx(corners.min(0), abs=1e-2)


# -- DOTA's server --------------------------------------------------------------------------------------------------


def result(name: str, *found) -> DetDataSample:
    rbboxes = np.array([box for _, _, box in found], np.float32).reshape(-1, 5)
    pred = InstanceData(
        rbboxes=rbboxes,
        labels=np.array([label for label, _, _ in found], np.int64),
        scores=np.array([s for _, s, _ in found]),
        bboxes=rbbox_hulls(rbboxes),
    )
    return DetDataSample(metainfo=dict(img_id=name, img_path=''), pred_instances=pred)


def test_names_of_tiles():
    assert tile_origin('P0000__1024__824___1648') == ('P0000', 824, 1648)
    assert tile_origin('a__b__1024__0___0') == ('a__b', 0, 0)
    assert tile_origin('P0000') == ('P0000', 0, 0)
    assert tile_origin('P0000__1024__824') == ('P0000__1024__824', 0, 0)


def test_tiles_are_merged():
    box = [90, 40, 30, 10, 0.4]
    moved = [10.5, 40, 30, 10, 0.4]
    merged = merge_tiles(
        [
            result('P1__100__80___0', (0, 0.9, moved), (1, 0.8, moved)),
            result('P1__100__0___0', (0, 0.7, box)),
            result('P2', (0, 0.5, box), (0, 0.4, box)),
            result('P3__100__0___0'),
        ]
    )
    assert list(merged) == ['P1', 'P2', 'P3']
    rbboxes, labels, scores = merged['P1']
    assert labels.tolist() == [0, 1] and scores.tolist() == [0.9, 0.8]  # the plane was found in both tiles
    assert rbboxes[0] == pytest.approx([90.5, 40, 30, 10, 0.4], abs=1e-4)
    assert len(merged['P2'][0]) == 2  # one image, already suppressed
    assert len(merged['P3'][0]) == 0


def test_submission_files(tmp_path):
    box = [10, 40, 30, 10, 0]
    files = write_submission([result('P1__100__80___20', (0, 0.9, box), (2, 0.25, box))], CLASSES, tmp_path / 'task1')
    assert [file.name for file in files] == ['Task1_plane.txt', 'Task1_storage-tank.txt', 'Task1_ship.txt']
    assert files[0].read_text() == 'P1 0.900000 75.00 55.00 105.00 55.00 105.00 65.00 75.00 65.00\n'
    assert files[1].read_text() == '' and files[2].read_text().startswith('P1 0.250000 ')


def test_submission_by_the_metric(tmp_path):
    metric = METRICS.build(dict(type='DOTAMetric', submission_dir=str(tmp_path / 's')))
    evaluate([sample_of(0, [], [(0, 0.9, [10, 40, 30, 10, 0])])], metric)
    assert (tmp_path / 's' / 'Task1_plane.txt').read_text().startswith('P0 0.9')


# -- what a run makes of the figures --------------------------------------------------------------------------------


def test_figures_in_a_run():
    figures = {'dota/mAP': 0.4, 'dota/mAP50': 0.6, 'dota/mAP75': 0.3, 'dota/mAP50-voc07': 0.7}
    assert fitness(figures) == pytest.approx(0.9 * 0.4 + 0.1 * 0.6)
    text = metrics_table(figures)
    row = next(line for line in text.splitlines() if 'dota' in line)
    assert [cell.strip() for cell in row.split('|')[1:-1]] == ['dota', '0.4000', '0.6000', '0.3000', '0.7000']
