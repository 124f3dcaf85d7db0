"""Seconds that COCO's evaluation of as many boxes as val2017 has takes: each installed backend against pycocotools.

    pip install 'detkit[eval]' faster-coco-eval
    python benchmarks/evaluation.py

5,000 images with 67 predictions each, drawn near random objects of 80 classes, are evaluated from the model's data
samples to the table of classes (``CocoMetric``), and by pycocotools' ``COCOeval`` from the same boxes in an array
(``loadRes``). They take turns. ``own`` is the part of detkit's time that is not spent inside of the backend. All
results are compared with those of pycocotools first.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import time
from collections.abc import Sequence

import numpy as np
import torch
from arguments import output_file, positive, run
from comparison import Comparison, report
from mmengine.structures import InstanceData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detkit.evaluation import CocoMetric, coco_metric
from detkit.evaluation.coco_backends import BACKENDS, CocoComparison, CocoCurves, choose_backend, evaluate_coco
from detkit.structures.data_sample import DetDataSample

NUM_CLASSES = 80
SHAPE = (480, 640)
_BATCH = 16


def draw_samples(num_images: int, predictions: int, seed: int = 0) -> list[DetDataSample]:
    """Return data samples as a model gives them: seven objects an image, predictions near them and elsewhere."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(num_images):
        count = min(int(rng.poisson(7)), predictions)
        labels, found_labels = rng.integers(NUM_CLASSES, size=count), rng.integers(NUM_CLASSES, size=predictions)
        bboxes, found = draw_bboxes(rng, count), draw_bboxes(rng, predictions)
        found[:count] = bboxes + rng.normal(0, 6, bboxes.shape)
        found_labels[:count] = labels
        sample = DetDataSample(metainfo=dict(img_id=number, img_path=f'{number:06d}.jpg', ori_shape=SHAPE))
        sample.gt_instances = InstanceData(
            bboxes=bboxes,
            labels=labels,
            ignored=rng.random(count) < 0.02,
            areas=(bboxes[:, 2:] - bboxes[:, :2]).prod(1) * 0.6,
        )
        sample.pred_instances = InstanceData(
            bboxes=torch.from_numpy(found),
            labels=torch.from_numpy(found_labels),
            scores=torch.from_numpy(np.sort(rng.random(predictions, np.float32))[::-1].copy()),
        )
        samples.append(sample)
    return samples


def draw_bboxes(rng: np.random.Generator, count: int) -> np.ndarray:
    wh = rng.uniform(8, 300, (count, 2))
    corners = rng.random((count, 2)) * (np.array(SHAPE[::-1]) - wh)
    return np.concatenate([corners, corners + wh], 1).astype(np.float32)


def evaluate_detkit(samples: Sequence[DetDataSample], backend: str) -> tuple[float, float, dict[str, float]]:
    """Return the seconds from data samples to results, those inside of the backend, and the results."""
    metric, inside = CocoMetric(backend=backend), []

    def timed(name: str, comparison: CocoComparison) -> CocoCurves:
        start = time.perf_counter()
        curves = evaluate_coco(name, comparison)
        inside.append(time.perf_counter() - start)
        return curves

    own = coco_metric.evaluate_coco
    coco_metric.evaluate_coco = timed
    try:
        metric.dataset_meta = dict(classes=[f'class {number}' for number in range(NUM_CLASSES)])
        start = time.perf_counter()
        for first in range(0, len(samples), _BATCH):
            metric.process(None, samples[first : first + _BATCH])
        results = metric.evaluate(len(samples))
        return time.perf_counter() - start, sum(inside), results
    finally:
        coco_metric.evaluate_coco = own


def evaluate_pycocotools(truth: COCO, rows: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the seconds that pycocotools takes from an array of predictions to its twelve results."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(rows), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return time.perf_counter() - start, evaluation.stats


def coco_truth(samples: Sequence[DetDataSample]) -> COCO:
    """Return the objects as pycocotools holds them, read from a json before an evaluation."""
    annotations = []
    for sample in samples:
        own = sample.gt_instances
        for (x0, y0, x1, y1), label, area, crowd in zip(own.bboxes, own.labels, own.areas, own.ignored, strict=True):
            bbox = [float(value) for value in (x0, y0, x1 - x0, y1 - y0)]
            entry = dict(image_id=sample.img_id, category_id=int(label), bbox=bbox, area=float(area))
            annotations.append({**entry, 'iscrowd': int(crowd), 'id': len(annotations) + 1})
    truth = COCO()
    truth.dataset = dict(
        info={},
        images=[dict(id=sample.img_id, height=SHAPE[0], width=SHAPE[1]) for sample in samples],
        categories=[dict(id=label, name=str(label)) for label in range(NUM_CLASSES)],
        annotations=annotations,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def result_rows(samples: Sequence[DetDataSample]) -> np.ndarray:
    """Return the predictions as ``loadRes`` takes them: image id, x, y, w, h, score, category id."""
    rows = []
    for sample in samples:
        found = sample.pred_instances
        bboxes = found.bboxes.double().numpy()
        values = (bboxes[:, :2], bboxes[:, 2:] - bboxes[:, :2], found.scores[:, None], found.labels[:, None])
        rows.append(np.concatenate([np.full((len(bboxes), 1), sample.img_id), *values], 1))
    return np.concatenate(rows)


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=positive, default=5000)
    parser.add_argument('--predictions', type=positive, default=67, help='an image')
    parser.add_argument('--rounds', type=positive, default=3, help='turns of each backend')
    parser.add_argument('--json', type=output_file, help='also write the results there')
    args = parser.parse_args(argv)
    samples = draw_samples(args.images, args.predictions)
    truth, rows = coco_truth(samples), result_rows(samples)
    backends = [name for name, own in BACKENDS.items() if importlib.util.find_spec(own.module)]
    whole: dict[str, list[float]] = {name: [] for name in backends}
    own: dict[str, list[float]] = {name: [] for name in backends}
    peer = []
    for _ in range(args.rounds):
        seconds, stats = evaluate_pycocotools(truth, rows)
        peer.append(seconds)
        for name in backends:
            seconds, inside, results = evaluate_detkit(samples, name)
            whole[name].append(seconds)
            own[name].append(seconds - inside)
            if not np.allclose(list(results.values()), stats, atol=1e-6):
                raise RuntimeError(f'{name} gives {results}, but pycocotools {stats}')
    title = f'COCO evaluation, {args.images:,} images, {len(rows):,} boxes'
    comparisons = [Comparison(f'{title}, {name}', 's', whole[name], 'pycocotools', peer) for name in backends]
    comparisons.append(Comparison(f'{title}, own part', 's', own[choose_backend('auto')]))
    report(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    run(main)
