"""Overlaps of the predictions and objects of an image, whatever their classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from detkit.structures.data_sample import DetDataSample
from detkit.structures.keypoints import default_sigmas
from detkit.structures.rotated_iou import pairwise_rotated_iou


def overlaps_of(sample: DetDataSample, kind: str, sigmas: Sequence[float] | None = None) -> np.ndarray:
    """Compute overlaps in [0, 1], ``(D, N)`` float64; with an ignored object, the share of the prediction inside it.

    Args:
        sample: evaluated, of one image.
        kind: 'bbox', 'segm', 'keypoints' (object keypoint similarity, 0 for objects without a visible point) or
            'rbbox'.
        sigmas: of the keypoints, see ``match``.
    """
    gt, pred = sample.gt_instances, sample.pred_instances
    shape = len(pred.labels), len(gt.labels)
    if 0 in shape:
        return np.zeros(shape)
    if kind == 'rbbox':
        ours, theirs = torch.from_numpy(pred.rbboxes), torch.from_numpy(gt.rbboxes)
        return pairwise_rotated_iou(ours, theirs, torch.ones(shape, dtype=torch.bool)).double().numpy()
    if kind == 'keypoints':
        return _keypoint_similarity(gt, pred, sigmas)
    crowd = gt.ignored.astype(int).tolist()
    if kind == 'segm':
        return np.asarray(coco_mask.iou(pred.masks, gt.masks, crowd), np.float64).reshape(shape)
    ours, theirs = (
        np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], 1).astype(np.float64) for b in (pred.bboxes, gt.bboxes)
    )
    return np.asarray(coco_mask.iou(ours, theirs, crowd), np.float64).reshape(shape)


def _keypoint_similarity(gt: InstanceData, pred: InstanceData, sigmas: Sequence[float] | None) -> np.ndarray:
    """Compute COCO's object keypoint similarity: the mean over visible points of exp(-d² / (2 area (2 sigma)²))."""
    count = gt.keypoints.shape[1]
    variances = (2 * np.asarray(default_sigmas(count) if sigmas is None else sigmas)) ** 2
    offsets = pred.keypoints[:, None, :, :2] - gt.keypoints[None, :, :, :2]  # (D, N, K, 2)
    areas = gt.areas[None, :, None] + np.spacing(1)
    similarity = np.exp(-(offsets**2).sum(-1) / (2 * areas * variances))
    visible = gt.keypoints[:, :, 2] > 0
    return (similarity * visible).sum(-1) / np.maximum(visible.sum(-1), 1)
