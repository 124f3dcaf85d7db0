"""VOC's average precision against hand-made cases and a plain rendering of the devkit's definition."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from detkit.engine.evaluate import metrics_table
from detkit.evaluation import CocoMetric, Evaluator, VOCMetric
from detkit.evaluation.average_precision import FALSE, TRUE, average_precision
from detkit.evaluation.headline import fitness
from detkit.structures.bboxes import pairwise_iou
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError, DataError

CLASSES = ('cat', 'dog', 'cow')


def sample_of(number: int, gt, pred, ignored=None) -> DetDataSample:
    """``gt``: (label, bbox) each; ``pred``: (label, score, bbox) each."""
    return DetDataSample(
        metainfo=dict(img_path=f'/data/{number}.jpg', img_id=f'{number:06d}', ori_shape=(100, 100)),
        gt_instances=InstanceData(
            labels=np.array([label for label, _ in gt], np.int64),
            bboxes=np.array([box for _, box in gt], np.float32).reshape(-1, 4),
            ignored=np.zeros(len(gt), bool) if ignored is None else np.array(ignored, bool),
        ),
        pred_instances=InstanceData(
            labels=torch.tensor([label for label, _, _ in pred], dtype=torch.int64),
            scores=torch.tensor([score for _, score, _ in pred], dtype=torch.float32),
            bboxes=torch.tensor([box for _, _, box in pred], dtype=torch.float32).reshape(-1, 4),
        ),
    )


def evaluate(samples, **options):
    metric = VOCMetric(**options)
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process(None, samples)
    return metric.evaluate(len(samples)), metric


def random_samples(seed: int, count: int = 15) -> list[DetDataSample]:
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        corners = rng.integers(0, 60, (rng.integers(0, 8), 2))
        gt = [(int(rng.integers(3)), [*corner, *(corner + rng.integers(10, 40, 2))]) for corner in corners]
        pred = [
            (
                label if rng.random() < 0.9 else int(rng.integers(3)),
                float(rng.random()),
                (np.array(box) + rng.integers(-3, 4, 4)).tolist(),
            )
            for label, box in gt
            for _ in range(rng.integers(0, 4))
        ]
        samples.append(sample_of(number, gt, pred, rng.random(len(gt)) < 0.2))
    return samples


def devkit(samples, label: int, iou_thr: float, eleven: bool) -> float:
    """One class, object by object, with VOC's whole pixels: the last of w pixels is w - 1 further."""
    truth, ranked = {}, []
    for sample in samples:
        gt, pred = sample.gt_instances, sample.pred_instances
        truth[sample.img_id] = [
            dict(box=(x0, y0, x1 - 1, y1 - 1), difficult=hard, taken=False)
            for own, (x0, y0, x1, y1), hard in zip(gt.labels, gt.bboxes.tolist(), gt.ignored, strict=True)
            if own == label
        ]
        ranked += [
            (score, sample.img_id, (x0, y0, x1 - 1, y1 - 1))
            for own, score, (x0, y0, x1, y1) in zip(
                pred.labels.tolist(), pred.scores.tolist(), pred.bboxes.tolist(), strict=True
            )
            if own == label
        ]
    wanted = sum(not entry['difficult'] for entries in truth.values() for entry in entries)
    hits, precision, recall = [], [], []
    for _, image, (x0, y0, x1, y1) in sorted(ranked, key=lambda row: -row[0]):
        best, most = None, -1.0
        for entry in truth[image]:
            a0, b0, a1, b1 = entry['box']
            w, h = min(x1, a1) - max(x0, a0) + 1, min(y1, b1) - max(y0, b0) + 1
            if w > 0 and h > 0:
                union = (x1 - x0 + 1) * (y1 - y0 + 1) + (a1 - a0 + 1) * (b1 - b0 + 1) - w * h
                if w * h / union > most:
                    best, most = entry, w * h / union
        if best is not None and most >= iou_thr:
            if best['difficult']:
                continue
            hits.append(not best['taken'])
            best['taken'] = True
        else:
            hits.append(False)
        precision.append(sum(hits) / len(hits))
        recall.append(sum(hits) / wanted)
    if eleven:
        return (
            sum(
                max((p for p, r in zip(precision, recall, strict=True) if r >= t), default=0)
                for t in (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
            )
            / 11
        )
    area, before = 0.0, 0.0
    for i, r in enumerate(recall):
        area += (r - before) * max(precision[i:])
        before = r
    return area


@pytest.mark.parametrize('seed', range(4))
def test_figures_are_the_devkits(seed):
    samples = random_samples(seed)
    figures, metric = evaluate(samples, iou_thrs=(0.5, 0.75))
    for thr in (50, 75):
        for ending, eleven in (('', False), ('-voc07', True)):
            expected = [devkit(samples, label, thr / 100, eleven) for label in range(3)]
            found = [entry[f'mAP{thr}{ending}'] for entry in metric.per_class[1:]]
            assert found == pytest.approx(expected, abs=1e-12)
            assert figures[f'voc/mAP{thr}{ending}'] == pytest.approx(np.mean(expected), abs=1e-12)
    assert 0.1 < figures['voc/mAP75'] < figures['voc/mAP50'] < 0.9


def test_images_without_objects():
    figures, metric = evaluate([sample_of(0, [], []), sample_of(1, [], [(0, 0.9, [0, 0, 5, 5])])])
    assert figures == {'voc/mAP50': -1, 'voc/mAP50-voc07': -1} and len(metric.per_class) == 1
    assert evaluate([])[0] == {}
    assert set(evaluate([sample_of(0, [(1, [0, 0, 9, 9])], [])])[0].values()) == {0.0}


def test_a_curve_by_hand():
    # Right, wrong, right of four: precision 1, 1/2, 2/3 at recall 1/4, 1/4, 1/2.
    found = np.array([TRUE, FALSE, TRUE], np.int8)
    assert average_precision(found, 4, 'area') == pytest.approx(1 / 4 + 2 / 3 / 4)
    # Recalls 0, .1, .2 have 1; .3, .4, .5 have 2/3; the others nothing.
    assert average_precision(found, 4, 'voc07') == pytest.approx((3 + 3 * 2 / 3) / 11)
    assert average_precision(found[:0], 4, 'area') == 0 and average_precision(found, 0, 'area') == -1


def test_an_overlap_of_exactly_the_threshold_is_enough():
    whole, half = [0, 0, 10, 10], [0, 0, 10, 5]
    assert pairwise_iou(np.array([half], float), np.array([whole], float)) == 0.5
    assert evaluate([sample_of(0, [(0, whole)], [(0, 0.9, half)])])[0]['voc/mAP50'] == 1
    assert evaluate([sample_of(0, [(0, whole)], [(0, 0.9, [0, 0, 10, 4.99])])])[0]['voc/mAP50'] == 0


def test_difficult_objects_neither_help_nor_harm():
    easy, hard = [0, 0, 20, 20], [50, 50, 80, 80]
    for pred in ([(0, 0.9, easy)], [(0, 0.9, hard), (0, 0.8, easy), (0, 0.7, hard)]):
        figures, metric = evaluate([sample_of(0, [(0, easy), (0, hard)], pred, [False, True])])
        assert set(figures.values()) == {1.0} and metric.per_class[0]['objects'] == 1


def test_a_second_find_is_a_mistake():
    box = [0, 0, 20, 20]
    samples = [
        sample_of(0, [(0, box), (0, [50, 50, 80, 80])], [(0, 0.9, box), (0, 0.8, box), (0, 0.7, [50, 50, 80, 80])])
    ]
    assert evaluate(samples)[0]['voc/mAP50'] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_beside_cocos_figures(tmp_path):
    samples = random_samples(0)
    evaluator = Evaluator([CocoMetric(), VOCMetric(outfile=str(tmp_path / 'out.json'))])
    evaluator.dataset_meta = dict(classes=CLASSES)
    evaluator.process(samples)
    figures = evaluator.evaluate(len(samples))
    assert {'coco/bbox_mAP', 'voc/mAP50', 'voc/mAP50-voc07'} <= figures.keys()
    assert 'voc' in metrics_table(figures) and (tmp_path / 'out.json').exists()
    assert fitness({'voc/mAP50': 0.5}) > fitness({'voc/mAP50': 0.4}) > 0


def test_files_for_the_server(tmp_path):
    samples = [sample_of(7, [(1, [0, 0, 9, 9])], [(1, 0.5, [0, 0, 9.5, 8]), (1, 0.25, [3, 4, 5, 6])])]
    evaluate(samples, submission_dir=tmp_path)
    assert (tmp_path / 'comp4_det_test_dog.txt').read_text() == (
        '000007 0.500000 1.00 1.00 9.50 8.00\n000007 0.250000 4.00 5.00 5.00 6.00\n'
    )
    assert (tmp_path / 'comp4_det_test_cat.txt').read_text() == ''


def test_mistakes_are_named():
    for thrs in ((), 0, (0.5, 2)):
        with pytest.raises(ConfigError, match='iou_thrs'):
            VOCMetric(iou_thrs=thrs)
    with pytest.raises(DataError, match='VOCMetric needs ground truth'):
        evaluate([DetDataSample(metainfo=dict(img_path='0.jpg'), pred_instances=InstanceData())])
