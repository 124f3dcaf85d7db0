"""``evaluated_sample``: a data sample reduced to what metrics and analyses read, so that thousands can be kept."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData

from detkit.evaluation.mask_encoder import MaskEncoder
from detkit.structures.data_sample import DetDataSample
from detkit.structures.masks import InstanceMasks, segmentation_to_rle
from detkit.utils.errors import ConfigError, DataError


def evaluated_sample(
    sample: DetDataSample, needs: Collection[str], metric: str, encoder: MaskEncoder, values: Collection[str] = ()
) -> DetDataSample:
    """Return the ground truth and predictions of an image as NumPy arrays, with masks as RLEs, and nothing else.

    Args:
        sample: the data sample that the model returned.
        needs: what to keep beside boxes: 'segm', 'keypoints', 'rbbox' (see ``GatheredMetric.needs``).
        metric: the name of the metric that asks, for errors.
        encoder: encodes the masks, which are empty until it has finished.
        values: names of own values to keep of both, see ``GatheredMetric.values``.

    Returns:
        A sample with ``img_path`` ('' where unknown), ``img_id`` and ``ori_shape``; ``gt_instances`` with ``labels``,
        ``bboxes``, ``ignored``, ``areas``; ``pred_instances`` with ``labels``, ``bboxes``, ``scores``; both with
        ``masks`` (lists of compressed RLEs), ``keypoints`` (of predictions also ``keypoint_scores``) and ``rbboxes``
        where needed.

    Raises:
        DataError: the ground truth is missing, or lacks what is needed.
        ConfigError: the predictions lack what is needed.
    """
    path, gt, pred = sample.get('img_path') or '', sample.get('gt_instances'), sample.pred_instances
    if gt is None:
        raise DataError(
            f"{metric} needs ground truth, but the data sample of '{path}' holds none; the dataset must "
            'run with test_mode=True.'
        )
    ori_shape = tuple(int(side) for side in sample.ori_shape[:2])
    bboxes, labels = as_array(gt.bboxes).reshape(-1, 4), as_array(gt.labels).astype(np.int64)
    wh = bboxes[:, 2:] - bboxes[:, :2]
    kept = DetDataSample(metainfo=dict(img_path=path, img_id=sample.get('img_id', path), ori_shape=ori_shape))
    kept.gt_instances = InstanceData(
        bboxes=bboxes,
        labels=labels,
        ignored=as_array(gt.ignored).astype(bool) if 'ignored' in gt else np.zeros(len(labels), bool),
        areas=as_array(gt.areas) if 'areas' in gt else wh[:, 0] * wh[:, 1],
    )
    kept.pred_instances = InstanceData(
        bboxes=as_array(pred.bboxes).reshape(-1, 4),
        labels=as_array(pred.labels).astype(np.int64),
        scores=as_array(pred.scores),
    )
    if 'segm' in needs:
        _add_masks(kept, gt, pred, metric, encoder)
    if 'keypoints' in needs:
        _add_keypoints(kept, gt, pred, metric)
    if 'rbbox' in needs:
        _add_rbboxes(kept, gt, pred, metric)
    for name in values:
        _add_values(kept, gt, pred, metric, name)
    return kept


def _add_values(kept: DetDataSample, gt: InstanceData, pred: InstanceData, metric: str, name: str) -> None:
    if name not in gt and len(gt.labels):
        raise DataError(
            f'{metric} needs the values {name!r} of each object, but the dataset has none for {kept.img_path!r}: give '
            f'them in Annotations(values={{{name!r}: …}})'
        )
    if name not in pred and len(pred.labels):
        raise ConfigError(
            f'{metric} needs predicted values {name!r}, but the head gives none: write pred_instances.{name} in its '
            'results'
        )
    found = [as_array(instances[name]) for instances in (gt, pred) if name in instances]
    shape = found[0].shape[1:] if found else ()
    for instances, given in ((kept.gt_instances, gt), (kept.pred_instances, pred)):
        instances.set_field(as_array(given[name]) if name in given else np.zeros((0, *shape), np.float32), name)


def _add_masks(kept: DetDataSample, gt: InstanceData, pred: InstanceData, metric: str, encoder: MaskEncoder) -> None:
    if 'masks' not in gt and len(gt.labels):
        raise DataError(
            f"{metric}(metric='segm') needs ground-truth masks, but the dataset has none for '{kept.img_path}'. "
            "Evaluate metric='bbox', or use a dataset with polygons."
        )
    if 'masks' not in pred and len(pred.labels):
        raise ConfigError(
            f"{metric}(metric='segm') needs predicted masks, but the model predicts boxes alone. "
            "Set metric='bbox', or use a segmentation head."
        )
    segmentations, bboxes, masks = gt.get('masks', []), kept.gt_instances.bboxes, pred.get('masks', [])

    def encode_truth() -> list[dict]:
        pairs = zip(segmentations, bboxes, strict=True)
        return [segmentation_to_rle(segmentation, bbox, kept.ori_shape) for segmentation, bbox in pairs]

    if not isinstance(masks, list | InstanceMasks):
        masks = InstanceMasks.from_bool(as_array(masks))
    for instances, job in (
        (kept.gt_instances, encode_truth),
        (kept.pred_instances, (lambda: masks) if isinstance(masks, list) else masks.to_rle),
    ):
        instances.masks = encoder.encode(len(instances.labels), job)


def _add_keypoints(kept: DetDataSample, gt: InstanceData, pred: InstanceData, metric: str) -> None:
    if 'keypoints' not in gt and len(gt.labels):
        raise DataError(
            f"{metric}(metric='keypoints') needs ground-truth keypoints, but the dataset has none for "
            f"'{kept.img_path}'. Evaluate metric='bbox', or use a dataset with keypoints."
        )
    if 'keypoints' not in pred and len(pred.labels):
        raise ConfigError(
            f"{metric}(metric='keypoints') needs predicted keypoints, but the model predicts boxes alone. "
            "Set metric='bbox', or use a pose head."
        )
    truth, predicted, scores = (
        as_array(instances[key]) if key in instances else None
        for instances, key in ((gt, 'keypoints'), (pred, 'keypoints'), (pred, 'keypoint_scores'))
    )
    count = next((array.shape[1] for array in (truth, predicted) if array is not None), 0)
    kept.gt_instances.keypoints = np.zeros((0, count, 3)) if truth is None else truth
    predicted = np.zeros((0, count, 2)) if predicted is None else predicted[..., :2]
    kept.pred_instances.keypoints = predicted
    kept.pred_instances.keypoint_scores = np.ones(predicted.shape[:2]) if scores is None else scores


def _add_rbboxes(kept: DetDataSample, gt: InstanceData, pred: InstanceData, metric: str) -> None:
    if 'rbboxes' not in gt and len(gt.labels):
        raise DataError(
            f"{metric} needs rotated ground truth, but the dataset has none for '{kept.img_path}'. Use a "
            "DotaDataset or a YoloTxtDataset with labels='obb', or evaluate with CocoMetric."
        )
    if 'rbboxes' not in pred:
        raise ConfigError(
            f'{metric} needs predicted rotated boxes, but the model predicts upright ones. Use CocoMetric, or a head '
            'for rotated boxes.'
        )
    kept.gt_instances.rbboxes = as_array(gt.get('rbboxes', np.zeros((0, 5)))).reshape(-1, 5)
    kept.pred_instances.rbboxes = as_array(pred.rbboxes).reshape(-1, 5)


def as_array(values: Any) -> np.ndarray:
    """Return a tensor, an array or a sequence as a NumPy array."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
