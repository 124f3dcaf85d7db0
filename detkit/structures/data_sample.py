"""``DetDataSample``: all that is known about one image, for people, metrics and pictures."""

import numpy as np
import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from detkit.structures.panoptic import PanopticSegments


class DetDataSample(BaseDataElement):
    """One image's meta information, ground truth and predictions, all in pixels of the **original** image.

    Meta information: ``img_path``, ``img_id``, ``ori_shape`` (h, w), ``img_shape`` (h, w) of the network's input before
    batch padding, ``matrix`` (3x3 float64, original -> input pixels, continuous coordinates), and ``skipped`` (why)
    where the image could not be read and a grey one replaces it, which metrics leave out.

    Attributes:
        gt_instances: ``InstanceData`` of arrays ``labels (N,)``, ``bboxes (N, 4)``, ``ignored (N,)`` bool (crowd,
            difficult), ``areas (N,)`` and, where the dataset has them, ``masks`` (a list of COCO segmentations: a list
            of flat rings, or an RLE), ``keypoints (N, K, 3)`` (x, y, visibility) and ``rbboxes (N, 5)``.
        pred_instances: ``InstanceData`` with ``bboxes (N, 4)``, ``scores (N,)``, ``labels (N,)``, sorted by score,
            and, from a segmentation head, ``masks`` (``structures.InstanceMasks``), from a pose head
            ``keypoints (N, K, 2)`` and ``keypoint_scores (N, K)``, from a head of rotated boxes ``rbboxes (N, 5)``,
            whose hulls inside the image ``bboxes`` are.
        pred_panoptic: ``PanopticSegments``, from a head that divides the whole image.
        gt_label: int, the class of the whole image (classification).
        pred_scores: ``(C,)`` probabilities of the classes (classification).
        pred_label: int, the most probable class.
    """

    gt_instances: InstanceData
    pred_instances: InstanceData
    pred_panoptic: PanopticSegments
    gt_label: int
    pred_scores: Tensor
    pred_label: int


def best_classes(scores: Tensor | np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``count`` most probable classes by their ``(C,)`` scores, best first, the lower label where equal.

    Returns:
        Labels ``(count,)`` int64, and scores ``(count,)``.
    """
    values, labels = torch.as_tensor(scores).cpu().sort(descending=True, stable=True)
    return labels[:count].numpy(), values[:count].numpy()


def predicted_class(sample: DetDataSample) -> int:
    """Return the most probable class of a classified image; -1 where all scores are 0, as of one without any."""
    labels, scores = best_classes(sample.pred_scores, 1)
    return int(labels[0]) if scores[0] > 0 else -1


def is_among_best(sample: DetDataSample, k: int) -> bool:
    """Return whether the true class of a classified image is among the k most probable; no class is without scores."""
    labels, scores = best_classes(sample.pred_scores, k)
    return bool(scores[0] > 0) and sample.gt_label in labels
