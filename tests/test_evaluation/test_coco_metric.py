import contextlib
import copy
import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from mmengine.structures import InstanceData
from processes import free_ports
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detkit.evaluation import CocoMetric
from detkit.evaluation.coco_backends import BACKENDS
from detkit.evaluation.coco_format import result_entries
from detkit.registry import METRICS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.masks import InstanceMasks
from detkit.utils.errors import ConfigError, DataError

CLASSES = ('cat', 'dog', 'bird')


def make_data(rng: np.random.Generator, images: int = 8) -> tuple[dict, dict[int, dict]]:
    """A COCO dataset with crowds, rings and RLEs, and predictions near its objects, image by image."""
    dataset = {
        'info': {},
        'images': [],
        'annotations': [],
        'categories': [{'id': i + 1, 'name': name} for i, name in enumerate(CLASSES)],
    }
    predictions = {}
    for img_id in range(10, 10 + images):
        height, width = (int(v) for v in rng.integers(150, 250, 2))
        dataset['images'].append({'id': img_id, 'height': height, 'width': width, 'file_name': f'{img_id}.jpg'})
        frames, labels, scores, bboxes = [], [], [], []
        for _ in range(int(rng.integers(0, 7)) if img_id > 10 else 0):
            wh = rng.integers(5, 140, 2)
            x0, y0 = (int(v) for v in rng.integers(0, (width - wh[0], height - wh[1])))
            x1, y1 = x0 + int(wh[0]), y0 + int(wh[1])
            ring = [x0, y0, x1, y0, x1, y1, (x0 + x1) / 2, y1 - 2, x0, y1]
            label, crowd = int(rng.integers(1, 4)), int(rng.random() < 0.15)
            segmentation = [ring]
            if crowd:
                rle = coco_mask.merge(coco_mask.frPyObjects([ring], height, width))
                segmentation = {'size': [height, width], 'counts': rle['counts'].decode()}
            dataset['annotations'].append(
                {
                    'id': len(dataset['annotations']) + 1,
                    'image_id': img_id,
                    'category_id': label,
                    'iscrowd': crowd,
                    'bbox': [x0, y0, x1 - x0, y1 - y0],
                    'area': (x1 - x0) * (y1 - y0) * 0.9,
                    'segmentation': segmentation,
                }
            )
            for _ in range(int(rng.integers(0, 3))):
                shift = rng.normal(0, 6, 4)
                bbox = np.array([x0, y0, x1, y1]) + shift
                bbox = np.clip(bbox, 0, [width, height, width, height])
                if (bbox[2:] - bbox[:2] < 1).any():
                    continue
                frame = np.zeros((height, width), bool)
                left, top, right, bottom = bbox.round().astype(int)
                frame[top:bottom, left:right] = True
                frame[::3, left::5] = False
                frames.append(frame)
                bboxes.append(bbox)
                labels.append(label - 1 if rng.random() < 0.8 else int(rng.integers(0, 3)))
                scores.append(float(np.float32(rng.random())))
        order = np.argsort(scores)[::-1]
        predictions[img_id] = {
            'bboxes': np.array(bboxes, np.float32).reshape(-1, 4)[order],
            'labels': np.array(labels, np.int64)[order],
            'scores': np.array(scores, np.float32)[order],
            'masks': np.array(frames, bool).reshape(-1, height, width)[order],
        }
    return dataset, predictions


def as_samples(dataset: dict, predictions: dict[int, dict], label_of: dict[int, int] | None = None) -> list:
    label_of = label_of or {i + 1: i for i in range(len(CLASSES))}
    samples = []
    for image in dataset['images']:
        annotations = [a for a in dataset['annotations'] if a['image_id'] == image['id']]
        bboxes_xywh = np.array([a['bbox'] for a in annotations], np.float64).reshape(-1, 4)
        gt = InstanceData()
        gt.bboxes = torch.from_numpy(np.concatenate([bboxes_xywh[:, :2], bboxes_xywh[:, :2] + bboxes_xywh[:, 2:]], 1))
        gt.labels = torch.tensor([label_of[a['category_id']] for a in annotations])
        gt.ignored = torch.tensor([bool(a['iscrowd']) for a in annotations])
        gt.areas = torch.tensor([a['area'] for a in annotations], dtype=torch.float64)
        gt.masks = [a['segmentation'] for a in annotations]
        found = predictions[image['id']]
        pred = InstanceData(
            bboxes=torch.from_numpy(found['bboxes']),
            scores=torch.from_numpy(found['scores']),
            labels=torch.from_numpy(found['labels']),
            masks=InstanceMasks.from_bool(found['masks']),
        )
        meta = {'img_id': image['id'], 'img_path': image['file_name'], 'ori_shape': (image['height'], image['width'])}
        samples.append(DetDataSample(metainfo=meta, gt_instances=gt, pred_instances=pred))
    return samples


def run(metric: CocoMetric, samples: list[DetDataSample], classes=CLASSES) -> dict[str, float]:
    metric.dataset_meta = {'classes': classes}
    for start in range(0, len(samples), 3):
        metric.process(None, samples[start : start + 3])
    return metric.evaluate(len(samples))


def direct(dataset: dict, predictions: dict[int, dict], iou_type: str, category_of=lambda label: label + 1):
    """pycocotools' own twelve figures by the way its documentation describes."""
    results = []
    for img_id, found in predictions.items():
        rles = coco_mask.encode(np.asfortranarray(found['masks'].transpose(1, 2, 0).astype(np.uint8)))
        for i, (x0, y0, x1, y1) in enumerate(found['bboxes'].astype(np.float64)):
            result = {
                'image_id': img_id,
                'category_id': category_of(int(found['labels'][i])),
                'score': float(found['scores'][i]),
            }
            result |= {'segmentation': rles[i]} if iou_type == 'segm' else {'bbox': [x0, y0, x1 - x0, y1 - y0]}
            results.append(result)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(dataset)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


ORDER = ('mAP', 'mAP50', 'mAP75', 'mAP_s', 'mAP_m', 'mAP_l', 'AR1', 'AR10', 'AR100', 'AR_s', 'AR_m', 'AR_l')


def test_equals_pycocotools(capsys):
    dataset, predictions = make_data(np.random.default_rng(0))
    metric = METRICS.build({'type': 'CocoMetric', 'metric': ['bbox', 'segm']})
    figures = run(metric, as_samples(dataset, predictions))
    assert capsys.readouterr().out == ''
    assert list(figures) == [f'coco/{name}_{key}' for name in ('bbox', 'segm') for key in ORDER]
    for name in ('bbox', 'segm'):
        ours = [figures[f'coco/{name}_{key}'] for key in ORDER]
        np.testing.assert_allclose(ours, direct(dataset, predictions, name), atol=1e-12)
        assert 0.05 < figures[f'coco/{name}_mAP'] < 0.95  # the comparison is of real figures


def test_equal_scores_are_ranked_by_the_ids_of_images():
    dataset, predictions = make_data(np.random.default_rng(0))
    for number, image in enumerate(dataset['images']):
        image['file_name'] = f'{99 - number}.jpg'
    for found in predictions.values():
        found['scores'] = np.full_like(found['scores'], 0.5)
    figures = run(CocoMetric(), as_samples(dataset, predictions))
    ours = [figures[f'coco/bbox_{key}'] for key in ORDER]
    np.testing.assert_allclose(ours, direct(dataset, predictions, 'bbox'), atol=1e-12)


@pytest.mark.realdata
def test_equals_pycocotools_on_coco128(real_data: Path):
    (path,) = (real_data / 'coco128' / 'annotations').glob('*.json')
    dataset = json.loads(path.read_text())
    rng = np.random.default_rng(0)
    ids = [category['id'] for category in dataset['categories']]
    label_of = {category_id: label for label, category_id in enumerate(ids)}
    predictions = {}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
    for image in dataset['images']:
        found = {'bboxes': [], 'labels': [], 'masks': []}
        for annotation in truth.loadAnns(truth.getAnnIds(image['id'])):
            if rng.random() < 0.2:
                continue
            x, y, w, h = annotation['bbox']
            found['bboxes'].append(np.array([x, y, x + w, y + h]) + rng.normal(0, 0.04, 4) * (w, h, w, h))
            label = label_of[annotation['category_id']]
            found['labels'].append(label if rng.random() < 0.9 else int(rng.integers(0, 80)))
            found['masks'].append(np.roll(truth.annToMask(annotation).astype(bool), rng.integers(-5, 6, 2), (0, 1)))
        count = len(found['labels'])
        predictions[image['id']] = {
            'bboxes': np.array(found['bboxes'], np.float32).reshape(-1, 4),
            'labels': np.array(found['labels'], np.int64),
            'scores': np.sort(rng.random(count).astype(np.float32))[::-1].copy(),
            'masks': np.array(found['masks'], bool).reshape(count, image['height'], image['width']),
        }
    metric = CocoMetric(metric=['bbox', 'segm'])
    figures = run(metric, as_samples(dataset, predictions, label_of), [c['name'] for c in dataset['categories']])
    for name in ('bbox', 'segm'):
        ours = [figures[f'coco/{name}_{key}'] for key in ORDER]
        np.testing.assert_allclose(ours, direct(dataset, predictions, name, lambda label: ids[label]), atol=1e-12)
        assert 0.3 < figures[f'coco/{name}_mAP50'] < 0.9
    assert metric.per_class[0]['objects'] == sum(not a['iscrowd'] for a in dataset['annotations'])


@pytest.mark.parametrize('name', [name for name in BACKENDS if name != 'pycocotools'])
def test_backends_agree(name):
    pytest.importorskip(BACKENDS[name].module)
    samples = as_samples(*make_data(np.random.default_rng(1)))
    ours, theirs = (
        run(CocoMetric(metric=['bbox', 'segm', 'proposal'], backend=backend), samples)
        for backend in ('pycocotools', name)
    )
    assert theirs == pytest.approx(ours, abs=1e-12)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('damaged', ['scores', 'bboxes'])
def test_backends_agree_on_values_that_are_not_finite(damaged, value):
    samples = as_samples(*make_data(np.random.default_rng(1)))
    for sample in samples:
        sample.pred_instances[damaged][::3] = value
    installed = [name for name in BACKENDS if importlib.util.find_spec(BACKENDS[name].module)]
    reference, *others = (
        run(CocoMetric(metric=['bbox', 'segm', 'proposal'], backend=backend), samples) for backend in installed[::-1]
    )
    assert 0 < reference['coco/segm_mAP'] < 1
    for found in others:
        assert found == pytest.approx(reference, abs=1e-12)


def test_predictions_that_are_not_numbers_match_nothing():
    samples = as_samples(*make_data(np.random.default_rng(1)))
    expected = run(CocoMetric(metric=['bbox', 'segm']), samples)
    for sample in samples:
        pred = sample.pred_instances
        sample.pred_instances = InstanceData(
            bboxes=torch.cat([pred.bboxes, torch.tensor([[float('nan'), 1, 2, 3], [0, 0, 9, 9]])]),
            labels=torch.cat([pred.labels, torch.zeros(2, dtype=torch.int64)]),
            scores=torch.cat([pred.scores, torch.tensor([0.0, float('nan')])]),
            masks=InstanceMasks.cat([pred.masks, InstanceMasks.from_bool(np.zeros((2, *sample.ori_shape), bool))]),
        )
    found = run(CocoMetric(metric=['bbox', 'segm']), samples)
    assert found == pytest.approx(expected, abs=0.02)


def test_masks_are_encoded_in_order_and_their_errors_are_raised():
    samples = as_samples(*make_data(np.random.default_rng(1), images=70))
    metric = CocoMetric(metric='segm')
    metric.process(None, samples)
    kept = metric.results
    metric.evaluate(len(samples))
    assert len(kept) == len(samples) and all(
        own.pred_instances.masks == sample.pred_instances.masks.to_rle()
        for own, sample in zip(kept, samples, strict=True)
    )
    number = next(i for i, sample in enumerate(samples) if len(sample.gt_instances.labels))
    samples[number].gt_instances.masks[0] = {'size': [2, 2], 'counts': 'no list'.split()}
    metric.process(None, samples[number : number + 1])
    with pytest.raises(ValueError, match='invalid literal'):
        metric.evaluate(1)


def test_perfect_predictions_and_table():
    dataset, predictions = make_data(np.random.default_rng(2))
    dataset['annotations'] = [a for a in dataset['annotations'] if not a['iscrowd'] and a['category_id'] != 3]
    for image in dataset['images']:
        annotations = [a for a in dataset['annotations'] if a['image_id'] == image['id']]
        bboxes_xywh = np.array([a['bbox'] for a in annotations], np.float32).reshape(-1, 4)
        shape = image['height'], image['width']
        rles = [coco_mask.merge(coco_mask.frPyObjects(a['segmentation'], *shape)) for a in annotations]
        predictions[image['id']] = {
            'bboxes': np.concatenate([bboxes_xywh[:, :2], bboxes_xywh[:, :2] + bboxes_xywh[:, 2:]], 1),
            'labels': np.array([a['category_id'] - 1 for a in annotations], np.int64),
            'scores': np.ones(len(annotations), np.float32),
            'masks': np.array([coco_mask.decode(rle) for rle in rles], bool).reshape(-1, *shape),
        }
    metric = CocoMetric(metric=['bbox', 'segm', 'proposal'])
    figures = run(metric, as_samples(dataset, predictions))
    assert figures['coco/bbox_mAP'] == figures['coco/segm_mAP'] == figures['coco/proposal_AR100'] == 1.0
    assert [entry['class'] for entry in metric.per_class] == ['all', 'cat', 'dog']  # birds have no object
    assert sum(entry['objects'] for entry in metric.per_class[1:]) == len(dataset['annotations'])
    assert metric.table.count('1.000') == 12 and 'segm mAP50' in metric.table


def test_no_predictions():
    dataset, predictions = make_data(np.random.default_rng(3))
    empty = {img_id: {key: value[:0] for key, value in found.items()} for img_id, found in predictions.items()}
    figures = run(CocoMetric(metric=['bbox', 'segm', 'proposal']), as_samples(dataset, empty))
    assert figures['coco/bbox_mAP'] == figures['coco/segm_mAP50'] == figures['coco/proposal_AR100'] == 0.0


def test_as_many_predictions_as_a_head_gives():
    dataset, predictions = make_data(np.random.default_rng(9), images=3)
    for found in predictions.values():
        for key, value in found.items():
            found[key] = np.repeat(value, 400 // max(len(value), 1), axis=0)
        found['scores'] = np.sort(np.random.default_rng(0).random(len(found['scores'])).astype(np.float32))[::-1].copy()
    assert max(len(found['labels']) for found in predictions.values()) > 255
    figures = run(CocoMetric(metric=['bbox', 'segm']), as_samples(dataset, predictions))
    for name in ('bbox', 'segm'):
        ours = [figures[f'coco/{name}_{key}'] for key in ORDER]
        np.testing.assert_allclose(ours, direct(dataset, predictions, name), atol=1e-12)


def test_no_ground_truth():
    dataset, predictions = make_data(np.random.default_rng(3))
    metric = CocoMetric(metric=['bbox', 'segm'])
    figures = run(metric, as_samples(dataset | {'annotations': []}, predictions))
    assert set(figures.values()) == {-1.0}
    assert [entry['class'] for entry in metric.per_class] == ['all']


def test_no_image():
    assert run(CocoMetric(), []) == {}


def test_repeated_images_count_once():
    samples = as_samples(*make_data(np.random.default_rng(4)))
    assert run(CocoMetric(), samples + samples[:3]) == run(CocoMetric(), samples)


def test_an_image_that_two_datasets_show_counts_for_each(tmp_path):
    samples = as_samples(*make_data(np.random.default_rng(4)))
    other = next(sample for sample in samples if len(sample.gt_instances.labels)).clone()
    other.gt_instances = other.gt_instances[:0]
    alone = other.clone()
    alone.set_metainfo(dict(img_path=other.img_path[:-1], img_id=-1))  # at the same place in the order
    twice = run(CocoMetric(), [*samples, other])
    assert twice == run(CocoMetric(), [*samples, alone]) != run(CocoMetric(), samples)
    alone.set_metainfo(dict(img_id=other.img_id))  # as joined datasets have that count their images from 1
    entries = []
    for more in ([], [other], [alone]):
        run(CocoMetric(outfile=str(tmp_path / 'found.json')), [*samples, *more])
        entries.append(json.loads((tmp_path / 'found.json').read_text()))
    assert entries[0] == entries[1]  # predictions are written once for an image
    ids = {entry['image_id'] for entry in entries[2]}
    assert {alone.img_path, other.img_path} < ids and other.img_id not in ids


def test_images_that_could_not_be_read_count_neither_way():
    samples = as_samples(*make_data(np.random.default_rng(6)))
    unreadable = samples[2].clone()
    unreadable.set_metainfo(dict(skipped='is truncated', img_path='unreadable.jpg', img_id=-1))
    assert run(CocoMetric(), [*samples, unreadable]) == run(CocoMetric(), samples)


def test_objects_known_by_their_box_alone():
    dataset, predictions = make_data(np.random.default_rng(5))
    for annotation in dataset['annotations']:
        annotation['segmentation'] = []
    boxes = copy.deepcopy(dataset)
    for annotation in boxes['annotations']:
        x, y, w, h = annotation['bbox']
        annotation['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    metric = CocoMetric(metric='segm')
    assert run(metric, as_samples(dataset, predictions)) == run(metric, as_samples(boxes, predictions))


def test_results_file(tmp_path: Path):
    dataset, predictions = make_data(np.random.default_rng(6))
    path = tmp_path / 'new' / 'predictions.json'
    figures = run(CocoMetric(metric=['bbox', 'segm'], outfile=str(path)), as_samples(dataset, predictions))
    entries = json.loads(path.read_text())
    assert len(entries) == sum(len(found['labels']) for found in predictions.values())
    for entry in entries:
        entry['segmentation']['counts'] = entry['segmentation']['counts'].encode()
    for name, keep in (('bbox', 'bbox'), ('segm', 'segmentation')):
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = copy.deepcopy(dataset)
            truth.createIndex()
            kept = [{key: entry[key] for key in ('image_id', 'category_id', 'score', keep)} for entry in entries]
            evaluation = COCOeval(truth, truth.loadRes(kept), name)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(figures[f'coco/{name}_mAP'], abs=0.02)  # boxes are rounded


def test_segm_of_a_box_model_is_an_error():
    samples = as_samples(*make_data(np.random.default_rng(7)))
    for sample in samples:
        del sample.pred_instances.masks
    with pytest.raises(ConfigError, match='boxes alone'):
        run(CocoMetric(metric='segm'), samples)


def test_missing_ground_truth_is_an_error():
    samples = as_samples(*make_data(np.random.default_rng(7)))
    for sample in samples:
        del sample.gt_instances
    with pytest.raises(DataError, match='test_mode'):
        run(CocoMetric(), samples)


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        ({'metric': 'segmm'}, "Did you mean 'segm'"),
        ({'backend': 'pycocotool'}, "Did you mean 'pycocotools'"),
        ({'max_dets': (100, 10)}, 'ascending'),
    ],
)
def test_wrong_arguments(arguments, text):
    with pytest.raises(ConfigError, match=text):
        CocoMetric(**arguments)


def _distributed(rank: int, port: int, folder: str) -> None:
    torch.distributed.init_process_group('gloo', f'tcp://127.0.0.1:{port}', world_size=2, rank=rank)
    samples = as_samples(*make_data(np.random.default_rng(8)))
    # Blocks of unequal size, one image on both.
    figures = run(CocoMetric(metric=['bbox', 'segm']), samples[:5] if rank == 0 else samples[4:])
    Path(folder, f'{rank}.json').write_text(json.dumps(figures))
    torch.distributed.destroy_process_group()


def test_two_processes_give_the_results_of_one(tmp_path: Path):
    mp.start_processes(_distributed, (int(free_ports()[0]), str(tmp_path)), nprocs=2, start_method='fork')
    expected = run(CocoMetric(metric=['bbox', 'segm']), as_samples(*make_data(np.random.default_rng(8))))
    for rank in range(2):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == expected


def test_scores_of_a_results_file_are_the_scores_in_single_precision():
    scores = np.float32(0.0017) + np.spacing(np.float32(0.0017)) * np.arange(3, dtype=np.float32)
    entries = result_entries(1, np.tile([0, 0, 5, 5], (3, 1)), np.zeros(3, int), scores, None, [1])
    written = [json.loads(json.dumps(entry))['score'] for entry in entries]
    assert len(set(written)) == 3 and np.array(written, np.float32).tolist() == scores.tolist()
