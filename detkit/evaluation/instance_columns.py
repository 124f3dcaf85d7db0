"""``InstanceColumns``: the objects, or the predictions, of all images of an evaluation as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from detkit.structures.data_sample import DetDataSample


@dataclass(frozen=True)
class InstanceColumns:
    """The objects or the predictions of all images, N rows in the order of the images.

    A prediction that holds NaN, which packages treat each in its own way, counts as a false one: a NaN score is the
    lowest, a box with NaN has no area, a NaN keypoint is infinitely far.

    Attributes:
        images: ``(N,)`` int64, the index of each row's image.
        labels: ``(N,)`` int64.
        bboxes_xywh: ``(N, 4)`` float64.
        areas: ``(N,)`` float64, in pixels, as COCO uses them: the stated one of an object, a prediction's box area or,
            where masks are compared, its mask's.
        ignored: ``(N,)`` bool; no prediction is.
        scores: ``(N,)`` float64 of predictions, None of objects.
        masks: N compressed RLEs where masks are compared, else None.
        keypoints: ``(N, K, 3)`` float64 where keypoints are compared, else None: x, y and the visibility or the score.
    """

    images: np.ndarray
    labels: np.ndarray
    bboxes_xywh: np.ndarray
    areas: np.ndarray
    ignored: np.ndarray
    scores: np.ndarray | None = None
    masks: list[dict] | None = None
    keypoints: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


def gather_columns(samples: Sequence[DetDataSample], predictions: bool, iou_type: str) -> InstanceColumns:
    """Return the columns of evaluated samples.

    Args:
        samples: evaluated.
        predictions: of the predictions, else of the ground truth.
        iou_type: what is compared: 'bbox', 'segm' or 'keypoints'.
    """
    parts = [sample.pred_instances if predictions else sample.gt_instances for sample in samples]
    bboxes = np.concatenate([part.bboxes for part in parts] or [np.zeros((0, 4))])
    bboxes_xywh = bboxes.astype(np.float64)
    with np.errstate(invalid='ignore'):  # of infinite corners
        bboxes_xywh[:, 2:] = bboxes[:, 2:] - bboxes[:, :2]
    if predictions:
        bboxes_xywh[np.isnan(bboxes_xywh).any(1)] = 0
    labels = _join([part.labels for part in parts], np.int64)
    masks = [rle for part in parts for rle in part.masks] if iou_type == 'segm' else None
    if not predictions:
        areas = _join([part.areas for part in parts], np.float64)
    elif masks is not None:
        areas = np.array([coco_mask.area(rle) for rle in masks], np.float64)  # a list overflows in some releases
    else:
        areas = bboxes_xywh[:, 2] * bboxes_xywh[:, 3]
    return InstanceColumns(
        images=np.repeat(np.arange(len(parts)), np.array([len(part.labels) for part in parts], np.int64)),
        labels=labels,
        bboxes_xywh=bboxes_xywh,
        areas=areas,
        ignored=np.zeros(len(labels), bool) if predictions else _join([part.ignored for part in parts], bool),
        scores=_replace_nan(_join([part.scores for part in parts], np.float64), -np.inf) if predictions else None,
        masks=masks,
        keypoints=_gather_keypoints(parts) if iou_type == 'keypoints' else None,
    )


def instance_keypoints(instances: InstanceData) -> np.ndarray | None:
    """Return ``(N, K, 3)``: x, y and, of ground truth, visibility, of predictions the score; None without keypoints."""
    if 'keypoint_scores' in instances:
        return np.concatenate([instances.keypoints, instances.keypoint_scores[..., None]], 2)
    return instances.get('keypoints')


def _gather_keypoints(parts: Sequence[InstanceData]) -> np.ndarray:
    """Return the keypoints of all rows; an image without any may state another number of keypoints."""
    keypoints = [own for own in map(instance_keypoints, parts) if len(own)]
    return _replace_nan(np.concatenate(keypoints).astype(np.float64), np.inf) if keypoints else np.zeros((0, 0, 3))


def _join(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype, copy=False)


def _replace_nan(values: np.ndarray, other: float) -> np.ndarray:
    return np.where(np.isnan(values), other, values)
