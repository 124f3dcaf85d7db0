"""Random results of images, for tests of what is computed from them."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import cv2
import numpy as np
from mmengine.structures import InstanceData

from detkit.analysis.errors.matching import Matches, average_precisions
from detkit.structures.data_sample import DetDataSample

CLASSES = ('cat', 'dog', 'bird')


def evaluated(
    image: int,
    gt_bboxes: np.ndarray,
    gt_labels: np.ndarray,
    bboxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    gt_ignored: np.ndarray | None = None,
    gt_areas: np.ndarray | None = None,
    ori_shape: tuple[int, int] = (300, 300),
) -> DetDataSample:
    """A sample as metrics keep it, of the image ``<image>.jpg``; areas are those of the boxes."""
    gt_bboxes = np.array(gt_bboxes, float).reshape(-1, 4)
    sample = DetDataSample(metainfo=dict(img_id=image, img_path=f'{image}.jpg', ori_shape=ori_shape))
    sample.gt_instances = InstanceData(
        bboxes=gt_bboxes,
        labels=np.array(gt_labels, int),
        ignored=np.zeros(len(gt_bboxes), bool) if gt_ignored is None else np.array(gt_ignored, bool),
        areas=(gt_bboxes[:, 2:] - gt_bboxes[:, :2]).prod(1) if gt_areas is None else gt_areas,
    )
    sample.pred_instances = InstanceData(
        bboxes=np.array(bboxes, float).reshape(-1, 4), labels=np.array(labels, int), scores=np.array(scores, float)
    )
    return sample


def random_results(num_images: int = 12, seed: int = 0, noise: float = 3.0) -> list[DetDataSample]:
    """Objects of all sizes, some ignored, and predictions near them, at random places, and doubled; one image without
    objects, one without predictions."""
    results = []
    for image in range(num_images):
        rng = np.random.default_rng([seed, image])
        count = 0 if image == 0 else int(rng.integers(1, 7))
        gt_bboxes = _boxes(rng, count)
        gt_labels = rng.integers(0, 3, count)
        kept = np.flatnonzero(rng.random(count) < 0.8)
        kept = np.concatenate([kept, kept[rng.random(len(kept)) < 0.3]])
        others = int(rng.integers(0, 4))
        near = gt_bboxes[kept] + rng.normal(0, noise, (len(kept), 4))
        labels = np.where(rng.random(len(kept)) < 0.85, gt_labels[kept], rng.integers(0, 3, len(kept)))
        bboxes = np.concatenate([near, _boxes(rng, others)])
        bboxes = np.concatenate([bboxes[:, :2], np.maximum(bboxes[:, 2:], bboxes[:, :2] + 1)], 1)
        labels = np.concatenate([labels, rng.integers(0, 3, others)]).astype(np.int64)
        if image == 1:
            bboxes, labels = bboxes[:0], labels[:0]
        results.append(
            evaluated(
                image,
                gt_bboxes=gt_bboxes,
                gt_labels=gt_labels,
                gt_ignored=rng.random(count) < 0.1,
                gt_areas=(gt_bboxes[:, 2:] - gt_bboxes[:, :2]).prod(1) * 0.9,
                bboxes=bboxes,
                labels=labels,
                scores=np.round(rng.random(len(bboxes)), 2),
            )
        )
    return results


def rotated(results: list[DetDataSample]) -> list[DetDataSample]:
    """The same objects with their boxes turned by a tenth of a radian more each, predictions best first."""
    turned = []
    for result in results:
        sample = result.clone()
        sample.pred_instances = sample.pred_instances[np.argsort(-sample.pred_instances.scores, kind='stable')]
        for instances in (sample.gt_instances, sample.pred_instances):
            instances.rbboxes = _turn(instances.bboxes)
        turned.append(sample)
    return turned


def with_keypoints(results: list[DetDataSample], unlabelled: float = 0.0) -> list[DetDataSample]:
    """A person's keypoints along a diagonal of each box, a share of the objects without a visible one."""
    rng = np.random.default_rng(0)
    at = np.linspace(0.1, 0.9, 17)[:, None]
    for result in results:
        for instances in (result.gt_instances, result.pred_instances):
            bboxes = instances.bboxes[:, None]
            points = bboxes[..., :2] + at * (bboxes[..., 2:] - bboxes[..., :2])
            instances.keypoints = np.concatenate([points, np.full((*points.shape[:2], 1), 2.0)], 2)
        result.gt_instances.keypoints[rng.random(len(result.gt_instances)) < unlabelled, :, 2] = 0
        pred = result.pred_instances
        pred.keypoints, pred.keypoint_scores = pred.keypoints[..., :2], np.full(pred.keypoints.shape[:2], 0.9)
    return results


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    low = rng.uniform(0, 180, (count, 2))
    return np.concatenate([low, low + np.exp(rng.uniform(2.2, 5.4, (count, 2)))], 1)


def _turn(bboxes: np.ndarray) -> np.ndarray:
    wh = bboxes[:, 2:] - bboxes[:, :2]
    return np.concatenate([(bboxes[:, :2] + bboxes[:, 2:]) / 2, wh, np.full((len(bboxes), 1), 0.3)], 1)


def class_precisions(matches: Matches, counts: np.ndarray | None = None) -> np.ndarray:
    """Return average precisions ``(R, C, A, T)`` of choices of images ``(R, I)``, or of all images if left out.

    nan where a choice holds no object of a class and area.
    """
    values = np.stack([average_precisions(one, counts) for one in matches.per_class], 1)
    return np.where(values < 0, np.nan, values)


def one_image(gt, gt_labels, bboxes, labels, scores, ignored=None) -> DetDataSample:
    return evaluated(1, gt, gt_labels, bboxes, labels, scores, ignored)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline='') as file:
        return list(csv.reader(file))


def seen(path: Path) -> np.ndarray:
    """Return a written picture, which is large enough to read."""
    img = cv2.imread(str(path))
    assert min(img.shape[:2]) > 150
    return img


def cells(table: str) -> list[list[str]]:
    return [re.split(r' *\| *', line.strip('| ')) for line in table.splitlines() if line.startswith('|')]
