"""Average precision of keypoints: the same as pycocotools gives from files."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detkit.evaluation import CocoMetric
from detkit.evaluation.headline import fitness
from detkit.structures.data_sample import DetDataSample
from detkit.structures.keypoints import default_sigmas
from detkit.utils.errors import ConfigError, DataError

NAMES = ('mAP', 'mAP50', 'mAP75', 'mAP_m', 'mAP_l', 'AR', 'AR50', 'AR75', 'AR_m', 'AR_l')


def make_data(num_keypoints: int, images: int = 12) -> tuple[dict, list[DetDataSample]]:
    """A COCO file's content, and samples with its objects and predictions near them; crowds and unlabelled objects."""
    rng = np.random.default_rng(num_keypoints)
    categories = [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}]
    content = {'info': {}, 'images': [], 'annotations': [], 'categories': categories}
    samples = []
    for img_id in range(1, images + 1):
        content['images'].append({'id': img_id, 'height': 300, 'width': 400, 'file_name': f'{img_id}.jpg'})
        truth = {key: [] for key in ('bboxes', 'labels', 'ignored', 'areas', 'keypoints')}
        found = {key: [] for key in ('bboxes', 'labels', 'scores', 'keypoints', 'keypoint_scores')}
        for _ in range(int(rng.integers(0, 6)) if img_id > 1 else 0):
            wh = rng.uniform(20, 180, 2).astype(np.float32)
            corner = rng.uniform(0, [400 - wh[0], 300 - wh[1]]).astype(np.float32)
            points = np.concatenate(
                [corner + rng.random((num_keypoints, 2)) * wh, rng.integers(0, 3, (num_keypoints, 1))], 1
            ).astype(np.float32)
            points[:, 2] *= rng.random() > 0.25
            points[points[:, 2] == 0] = 0
            label, crowd, area = int(rng.integers(0, 2)), bool(rng.random() < 0.1), float(np.float32(wh.prod() * 0.6))
            for key, value in zip(truth, ([*corner, *(corner + wh)], label, crowd, area, points), strict=True):
                truth[key].append(value)
            content['annotations'].append(
                {
                    'id': len(content['annotations']) + 1,
                    'image_id': img_id,
                    'category_id': label + 1,
                    'iscrowd': int(crowd),
                    'bbox': [float(v) for v in (*corner, *wh)],
                    'area': area,
                    'keypoints': points.astype(float).ravel().tolist(),
                    'num_keypoints': int((points[:, 2] > 0).sum()),
                }
            )
            for _ in range(int(rng.integers(0, 3))):
                near = points[:, :2] + rng.normal(0, rng.uniform(1, 12), (num_keypoints, 2))
                found['bboxes'].append([*corner, *(corner + wh)])
                found['labels'].append(label)
                found['scores'].append(rng.random())
                found['keypoints'].append(near)
                found['keypoint_scores'].append(rng.random(num_keypoints))
        count, hits = len(truth['labels']), len(found['labels'])
        sample = DetDataSample(metainfo=dict(img_id=img_id, img_path=f'{img_id}.jpg', ori_shape=(300, 400)))
        sample.gt_instances = InstanceData(
            bboxes=np.array(truth['bboxes'], np.float32).reshape(-1, 4),
            labels=np.array(truth['labels'], np.int64),
            ignored=np.array(truth['ignored'], bool),
            areas=np.array(truth['areas'], np.float32),
            keypoints=np.array(truth['keypoints'], np.float32).reshape(count, num_keypoints, 3),
        )
        order = np.argsort(-np.array(found['scores'], float))
        places, certainties = (np.array(found[key]) for key in ('keypoints', 'keypoint_scores'))
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(found['bboxes'], dtype=torch.float32).reshape(-1, 4)[order],
            labels=torch.tensor(found['labels'], dtype=torch.int64)[order],
            scores=torch.tensor(found['scores'], dtype=torch.float32)[order],
            keypoints=torch.tensor(places).float().reshape(hits, num_keypoints, 2)[order],
            keypoint_scores=torch.tensor(certainties).float().reshape(hits, num_keypoints)[order],
        )
        samples.append(sample)
    return content, samples


def evaluate(samples, meta=None, **options):
    metric = CocoMetric(**{'metric': 'keypoints', **options})
    metric.dataset_meta = meta or {'classes': ('a', 'b')}
    metric.process(None, samples)
    return metric.evaluate(len(samples)), metric


@pytest.mark.parametrize(('num_keypoints', 'sigmas'), [(17, None), (5, None), (3, (0.05, 0.1, 0.2))])
def test_the_figures_are_those_of_the_files(tmp_path, num_keypoints, sigmas):
    content, samples = make_data(num_keypoints)
    (tmp_path / 'truth.json').write_text(json.dumps(content))
    meta = {'classes': ('a', 'b'), 'category_ids': (1, 2), **({'sigmas': sigmas} if sigmas else {})}
    outfile = tmp_path / 'out' / 'found.json'
    figures, metric = evaluate(samples, meta, metric=['bbox', 'keypoints'], outfile=str(outfile))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / 'truth.json'))
        found = truth.loadRes(str(outfile))
        for kind in ('keypoints', 'bbox'):
            expected = COCOeval(truth, found, kind)
            if kind == 'keypoints':
                expected.params.kpt_oks_sigmas = np.array(sigmas or default_sigmas(num_keypoints))
            expected.evaluate()
            expected.accumulate()
            expected.summarize()
            if kind == 'keypoints':
                for name, value in zip(NAMES, expected.stats, strict=True):
                    assert figures[f'coco/keypoints_{name}'] == pytest.approx(value, abs=1e-3), name
    assert figures['coco/bbox_mAP'] == pytest.approx(expected.stats[0], abs=1e-3)
    assert 0.1 < figures['coco/keypoints_mAP'] < figures['coco/keypoints_mAP50'] < 1
    assert {'keypoints_mAP', 'keypoints_mAP50', 'bbox_mAP'} <= metric.per_class[0].keys()
    entry = json.loads(outfile.read_text())[0]
    assert len(entry['keypoints']) == 3 * num_keypoints and {'image_id', 'category_id', 'score', 'bbox'} < entry.keys()


def test_perfect_predictions_and_unlabelled_objects():
    _, samples = make_data(17)
    for sample in samples:
        truth = sample.gt_instances
        keep = ~truth.ignored & (truth.keypoints[..., 2] > 0).any(1)
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(truth.bboxes[keep]),
            labels=torch.tensor(truth.labels[keep]),
            scores=torch.ones(int(keep.sum())),
            keypoints=torch.tensor(truth.keypoints[keep][..., :2]),
            keypoint_scores=torch.ones(int(keep.sum()), 17),
        )
    figures, _ = evaluate(samples)
    assert figures['coco/keypoints_mAP'] == pytest.approx(1) and figures['coco/keypoints_AR'] == pytest.approx(1)
    assert fitness(figures) == pytest.approx(1)
    assert fitness({'coco/bbox_mAP': 0.5, 'coco/bbox_mAP50': 0.5, **figures}) == pytest.approx(1.5)


def test_nothing_there_and_nothing_found():
    sample = DetDataSample(metainfo=dict(img_id=1, img_path='1.jpg', ori_shape=(30, 40)))
    none = dict(bboxes=np.zeros((0, 4)), labels=np.zeros(0, np.int64))
    sample.gt_instances = InstanceData(**none)
    sample.pred_instances = InstanceData(**none, scores=np.zeros(0))
    figures, _ = evaluate([sample])
    assert set(figures) == {f'coco/keypoints_{name}' for name in NAMES} and set(figures.values()) == {-1}


def test_mistakes_are_named():
    _, samples = make_data(5)
    with pytest.raises(ConfigError, match='sigmas of 3 keypoints, but the ground truth .* 5 keypoints'):
        evaluate(samples, {'classes': ('a', 'b'), 'sigmas': (0.1,) * 3})
    with pytest.raises(ConfigError, match="metric is 'keypoint', .*Did you mean"):
        CocoMetric(metric='keypoint')
    full = next(sample for sample in samples if len(sample.pred_instances))
    del full.pred_instances.keypoints
    with pytest.raises(ConfigError, match='use a pose head'):
        evaluate([full])
    del full.gt_instances.keypoints
    with pytest.raises(DataError, match='ground-truth keypoints'):
        evaluate([full])
