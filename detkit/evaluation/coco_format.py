"""COCO's dictionaries from detkit's per-image results, and back out to its results file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from detkit.evaluation.gathered_metric import as_array
from detkit.utils.errors import DataError


@dataclass
class ImageResult:
    """Ground truth and predictions of one image, plain arrays in its original pixels.

    Attributes:
        img_id: the dataset's own.
        img_path: where it lies, '' where unknown.
        ori_shape: (h, w).
        gt_bboxes: ``(N, 4)`` xyxy.
        gt_labels: ``(N,)``.
        gt_ignored: ``(N,)`` bool; COCO's crowd.
        gt_areas: ``(N,)``.
        gt_rles: N compressed RLEs, or None where masks are not evaluated.
        bboxes: ``(P, 4)`` xyxy, predictions.
        labels: ``(P,)``.
        scores: ``(P,)``.
        rles: P compressed RLEs, or None.
        mask_areas: ``(P,)``, of ``rles``.
        gt_keypoints: ``(N, K, 3)`` x, y, visibility, or None where keypoints are not evaluated.
        keypoints: ``(P, K, 3)`` x, y, score, or None.
    """

    img_id: int | str
    img_path: str
    ori_shape: tuple[int, int]
    gt_bboxes: np.ndarray
    gt_labels: np.ndarray
    gt_ignored: np.ndarray
    gt_areas: np.ndarray
    bboxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    gt_rles: list[dict] | None = None
    rles: list[dict] | None = None
    mask_areas: np.ndarray | None = None
    gt_keypoints: np.ndarray | None = None
    keypoints: np.ndarray | None = None


def bbox_result(sample: dict, metric: str) -> ImageResult:
    """The boxes of an image, without masks and keypoints.

    Args:
        sample: a ``DetDataSample`` as a dict.
        metric: the name of the metric that asks.

    Raises:
        DataError: there is no ground truth.
    """
    gt, pred = sample.get('gt_instances'), sample['pred_instances']
    path, ori_shape = sample.get('img_path') or '', tuple(int(side) for side in sample['ori_shape'][:2])
    if gt is None:
        raise DataError(
            f"{metric} needs ground truth, but the data sample of '{path}' holds none; the dataset must "
            'run with test_mode=True.'
        )
    gt_bboxes, gt_labels = as_array(gt['bboxes']).reshape(-1, 4), as_array(gt['labels']).astype(np.int64)
    wh = gt_bboxes[:, 2:] - gt_bboxes[:, :2]
    return ImageResult(
        img_id=sample.get('img_id', path),
        img_path=path,
        ori_shape=ori_shape,
        gt_bboxes=gt_bboxes,
        gt_labels=gt_labels,
        gt_ignored=as_array(gt['ignored']).astype(bool) if 'ignored' in gt else np.zeros(len(gt_labels), bool),
        gt_areas=as_array(gt['areas']) if 'areas' in gt else wh[:, 0] * wh[:, 1],
        bboxes=as_array(pred['bboxes']).reshape(-1, 4),
        labels=as_array(pred['labels']).astype(np.int64),
        scores=as_array(pred['scores']),
    )


def segmentation_to_rle(segmentation: dict | Sequence, bbox: np.ndarray, ori_shape: tuple[int, int]) -> dict:
    """The compressed RLE of one ground-truth segmentation.

    Args:
        segmentation: an RLE dict (compressed or with a list of counts), or a list of rings, each flat (x, y, x, y, ...)
            or ``(P, 2)``. With no ring of at least 3 points the object is known by its box alone, which is its mask.
        bbox: ``(4,)`` xyxy.
        ori_shape: (h, w) of the image.
    """
    height, width = ori_shape
    if isinstance(segmentation, dict):
        if isinstance(segmentation['counts'], list):
            return coco_mask.frPyObjects(segmentation, height, width)
        return segmentation
    rings = [np.asarray(ring, np.float64).ravel().tolist() for ring in segmentation]
    rings = [ring for ring in rings if len(ring) >= 6]
    if not rings:
        x0, y0, x1, y1 = (float(value) for value in bbox)
        rings = [[x0, y0, x1, y0, x1, y1, x0, y1]]
    return coco_mask.merge(coco_mask.frPyObjects(rings, height, width))


def to_coco(results: Sequence[ImageResult], class_count: int, predictions: bool, iou_type: str) -> dict:
    """A COCO dataset of the ground truth or of the predictions, for ``pycocotools``.

    Images are numbered from 1 in the order given, annotations from 1 (pycocotools takes a match with number 0 for
    none); category ids are labels. Areas are those COCO uses: the stated ones of ground truth, a prediction's box area
    or, for ``iou_type='segm'``, its mask's. With ``iou_type='keypoints'`` an object of which none is labelled says so,
    and is ignored.
    """
    annotations = []
    for number, result in enumerate(results, 1):
        bboxes = result.bboxes if predictions else result.gt_bboxes
        labels = result.labels if predictions else result.gt_labels
        rles = result.rles if predictions else result.gt_rles
        keypoints = result.keypoints if predictions else result.gt_keypoints
        wh = bboxes[:, 2:] - bboxes[:, :2]
        if not predictions:
            areas = result.gt_areas
        elif iou_type == 'segm':
            areas = result.mask_areas
        else:
            areas = wh[:, 0] * wh[:, 1]
        bboxes_xywh = np.concatenate([bboxes[:, :2], wh], 1).astype(np.float64).tolist()
        rows = zip(bboxes_xywh, labels.tolist(), np.asarray(areas, np.float64).tolist(), strict=True)
        for i, (bbox, label, area) in enumerate(rows):
            annotation = {
                'id': len(annotations) + 1,
                'image_id': number,
                'category_id': label,
                'bbox': bbox,
                'area': area,
                'iscrowd': 0 if predictions else int(result.gt_ignored[i]),
            }
            if predictions:
                annotation['score'] = float(result.scores[i])
            if iou_type == 'segm':
                annotation['segmentation'] = rles[i]
            if iou_type == 'keypoints':
                annotation['keypoints'] = keypoints[i].astype(np.float64).ravel().tolist()
                annotation['num_keypoints'] = int((keypoints[i, :, 2] > 0).sum())
            annotations.append(annotation)
    images = [
        {'id': number, 'height': result.ori_shape[0], 'width': result.ori_shape[1]}
        for number, result in enumerate(results, 1)
    ]
    return {
        'info': {},
        'images': images,
        'annotations': annotations,
        'categories': [{'id': label, 'name': str(label)} for label in range(class_count)],
    }


def public_image_id(img_id: int | str) -> int | str:
    """The id for a results file: an integer where the dataset's id is one or, as COCO's file names, made of digits."""
    return int(img_id) if str(img_id).isdigit() else img_id


def result_entries(
    img_id: int | str,
    bboxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    rles: Sequence[dict] | None,
    category_ids: Sequence[int],
    keypoints: np.ndarray | None = None,
) -> list[dict]:
    """One image's predictions as COCO's results file lists them.

    Args:
        img_id: the dataset's.
        bboxes: ``(P, 4)`` xyxy in pixels of the original image.
        labels, scores: ``(P,)``.
        rles: P compressed RLEs, or None without masks.
        category_ids: the id to write for each label.
        keypoints: ``(P, K, 3)`` x, y, score, or None without keypoints.
    """
    entries = []
    for i, (x0, y0, x1, y1) in enumerate(np.asarray(bboxes, np.float64).tolist()):
        entry = {
            'image_id': public_image_id(img_id),
            'category_id': int(category_ids[int(labels[i])]),
            'bbox': [round(x0, 3), round(y0, 3), round(x1 - x0, 3), round(y1 - y0, 3)],
            'score': round(float(scores[i]), 6),
        }
        if rles is not None:
            entry['segmentation'] = {'size': list(rles[i]['size']), 'counts': rles[i]['counts'].decode('ascii')}
        if keypoints is not None:
            entry['keypoints'] = np.round(keypoints[i].astype(np.float64), 3).ravel().tolist()
        entries.append(entry)
    return entries


def write_results(results: Sequence[ImageResult], category_ids: Sequence[int], path: str | Path) -> int:
    """Write predictions as COCO's results file: a list of entries, one a detection.

    Args:
        results: per image; ``segmentation`` and ``keypoints`` are written where they hold such.
        category_ids: the id to write for each label.
        path: the json file; its folder is made.

    Returns:
        The number of entries.
    """
    entries = [
        entry
        for result in results
        for entry in result_entries(
            result.img_id, result.bboxes, result.labels, result.scores, result.rles, category_ids, result.keypoints
        )
    ]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(entries))
    return len(entries)
