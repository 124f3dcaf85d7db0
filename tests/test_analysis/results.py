"""Random results of images, for tests of what is computed from them."""

from __future__ import annotations

import numpy as np

from detkit.evaluation.coco_format import ImageResult
from detkit.evaluation.rotated_format import RotatedResult

CLASSES = ('cat', 'dog', 'bird')


def random_results(num_images: int = 12, seed: int = 0, noise: float = 3.0) -> list[ImageResult]:
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
            ImageResult(
                img_id=image,
                img_path=f'{image}.jpg',
                ori_shape=(300, 300),
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


def rotated(results: list[ImageResult]) -> list[RotatedResult]:
    """The same objects with their boxes turned by a tenth of a radian more each, predictions best first."""
    turned = []
    for result in results:
        order = np.argsort(-result.scores, kind='stable')
        turned.append(
            RotatedResult(
                img_id=result.img_id,
                img_path=result.img_path,
                gt_labels=result.gt_labels,
                gt_ignored=result.gt_ignored,
                gt_rbboxes=_turn(result.gt_bboxes),
                rbboxes=_turn(result.bboxes[order]),
                labels=result.labels[order],
                scores=result.scores[order],
                bboxes=result.bboxes[order],
            )
        )
    return turned


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    low = rng.uniform(0, 180, (count, 2))
    return np.concatenate([low, low + np.exp(rng.uniform(2.2, 5.4, (count, 2)))], 1)


def _turn(bboxes: np.ndarray) -> np.ndarray:
    wh = bboxes[:, 2:] - bboxes[:, :2]
    return np.concatenate([(bboxes[:, :2] + bboxes[:, 2:]) / 2, wh, np.full((len(bboxes), 1), 0.3)], 1)
