"""Drawing what metrics keep of an image: ground truth or predictions as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detkit.evaluation.coco_format import ImageResult
from detkit.evaluation.rotated_format import RotatedResult
from detkit.structures.rotated_bboxes import rbbox_corners
from detkit.visualization.classification import write_lines
from detkit.visualization.drawing import draw_instances, masks_from_segmentations
from detkit.visualization.skeletons import drawn_keypoints


def draw_result(
    img: np.ndarray,
    result: Any,
    which: str,
    classes: Sequence[str],
    metainfo: Mapping[str, Any] | None = None,
    score_thr: float = 0.0,
) -> np.ndarray:
    """A copy of the original image with the objects, or the class, of a metric's result.

    Args:
        img: ``(H, W, 3)`` uint8 RGB.
        result: ``ImageResult``, ``RotatedResult`` or what ``AccuracyMetric`` keeps.
        which: 'gt' or 'pred'.
        classes: names of the labels.
        metainfo: what the dataset says of its keypoints.
        score_thr: predictions below it are left out.
    """
    if which not in ('gt', 'pred'):
        raise ValueError(f"which must be 'gt' or 'pred', not {which!r}")
    truth = which == 'gt'
    if not isinstance(result, ImageResult | RotatedResult):
        label = result.gt_label if truth else int(result.labels[0])
        return write_lines(img, [(label, classes[label] if truth else f'{classes[label]} {result.scores[0]:.2f}')])
    kept = np.flatnonzero(np.ones(len(result.gt_labels), bool) if truth else result.scores >= score_thr)
    labels = (result.gt_labels if truth else result.labels)[kept]
    scores = None if truth else result.scores[kept]
    ignored = result.gt_ignored[kept] if truth else None
    if isinstance(result, RotatedResult):
        rbboxes = (result.gt_rbboxes if truth else result.rbboxes)[kept]
        corners = rbbox_corners(rbboxes)
        bboxes = np.concatenate([corners.min(1), corners.max(1)], 1)
        return draw_instances(img, bboxes, labels, classes, scores, ignored=ignored, rbboxes=rbboxes)
    bboxes = (result.gt_bboxes if truth else result.bboxes)[kept]
    rles = result.gt_rles if truth else result.rles
    masks = None if rles is None else masks_from_segmentations([rles[i] for i in kept], bboxes, img.shape[:2])
    keypoints = result.gt_keypoints if truth else result.keypoints
    if keypoints is not None:
        keypoints = keypoints[kept]
        keypoints = keypoints if truth else drawn_keypoints(keypoints[..., :2], keypoints[..., 2])
    return draw_instances(
        img, bboxes, labels, classes, scores, masks, ignored, keypoints=keypoints, keypoint_info=metainfo
    )
