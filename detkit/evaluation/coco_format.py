"""COCO's dictionaries and results file from evaluated samples, and files of one class each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from detkit.structures.data_sample import DetDataSample
from detkit.utils.tables import write_json


def to_coco(samples: Sequence[DetDataSample], class_count: int, predictions: bool, iou_type: str) -> dict:
    """Return a COCO dataset of the ground truth or of the predictions of evaluated samples, for ``pycocotools``.

    Images are numbered from 1 in the order given, annotations from 1 (pycocotools takes a match with number 0 for
    none); category ids are labels. Areas are those COCO uses: the stated ones of ground truth, a prediction's box area
    or, for ``iou_type='segm'``, its mask's. With ``iou_type='keypoints'`` an object of which none is labelled says so,
    and is ignored.
    """
    annotations = []
    for number, sample in enumerate(samples, 1):
        instances = sample.pred_instances if predictions else sample.gt_instances
        bboxes_xywh = instances.bboxes.astype(np.float64)
        wh = instances.bboxes[:, 2:] - instances.bboxes[:, :2]
        bboxes_xywh[:, 2:] = wh
        if not predictions:
            areas = instances.areas
        elif iou_type == 'segm':
            areas = [coco_mask.area(rle) for rle in instances.masks]  # a list of them overflows in some releases
        else:
            areas = wh[:, 0] * wh[:, 1]
        keypoints = instance_keypoints(instances) if iou_type == 'keypoints' else None
        rows = zip(bboxes_xywh.tolist(), instances.labels.tolist(), np.asarray(areas, np.float64).tolist(), strict=True)
        for i, (bbox, label, area) in enumerate(rows):
            annotation = {
                'id': len(annotations) + 1,
                'image_id': number,
                'category_id': label,
                'bbox': bbox,
                'area': area,
                'iscrowd': 0 if predictions else int(instances.ignored[i]),
            }
            if predictions:
                annotation['score'] = float(instances.scores[i])
            if iou_type == 'segm':
                annotation['segmentation'] = instances.masks[i]
            if keypoints is not None:
                annotation['keypoints'] = keypoints[i].astype(np.float64).ravel().tolist()
                annotation['num_keypoints'] = int((keypoints[i, :, 2] > 0).sum())
            annotations.append(annotation)
    images = [
        {'id': number, 'height': sample.ori_shape[0], 'width': sample.ori_shape[1]}
        for number, sample in enumerate(samples, 1)
    ]
    return {
        'info': {},
        'images': images,
        'annotations': annotations,
        'categories': [{'id': label, 'name': str(label)} for label in range(class_count)],
    }


def instance_keypoints(instances: InstanceData) -> np.ndarray | None:
    """Return ``(N, K, 3)``: x, y and, of ground truth, visibility, of predictions the score; None without keypoints."""
    if 'keypoint_scores' in instances:
        return np.concatenate([instances.keypoints, instances.keypoint_scores[..., None]], 2)
    return instances.get('keypoints')


def result_entries(
    img_id: int | float | str,
    bboxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    rles: Sequence[dict] | None,
    category_ids: Sequence[int | float | str],
    keypoints: np.ndarray | None = None,
) -> list[dict]:
    """Return one image's predictions as COCO's results file lists them.

    Args:
        img_id: the dataset's, which is written as it is.
        bboxes: ``(P, 4)`` xyxy in pixels of the original image.
        labels, scores: ``(P,)``.
        rles: P compressed RLEs, or None without masks.
        category_ids: the id to write for each label.
        keypoints: ``(P, K, 3)`` x, y, score, or None without keypoints.
    """
    entries = []
    for i, (x0, y0, x1, y1) in enumerate(np.asarray(bboxes, np.float64).tolist()):
        entry = {
            'image_id': img_id,
            'category_id': category_ids[int(labels[i])],
            'bbox': [round(x0, 3), round(y0, 3), round(x1 - x0, 3), round(y1 - y0, 3)],
            'score': round(float(scores[i]), 6),
        }
        if rles is not None:
            entry['segmentation'] = {'size': list(rles[i]['size']), 'counts': rles[i]['counts'].decode('ascii')}
        if keypoints is not None:
            entry['keypoints'] = np.round(keypoints[i].astype(np.float64), 3).ravel().tolist()
        entries.append(entry)
    return entries


def write_results(samples: Sequence[DetDataSample], category_ids: Sequence[int | float | str], path: str | Path) -> int:
    """Write predictions as COCO's results file: a list of entries, one a detection.

    Args:
        samples: evaluated; ``segmentation`` and ``keypoints`` are written where they hold such.
        category_ids: the id to write for each label.
        path: the json file; its folder is made.

    Returns:
        The number of entries.
    """
    entries = []
    for sample in samples:
        pred = sample.pred_instances
        entries += result_entries(
            sample.img_id,
            pred.bboxes,
            pred.labels,
            pred.scores,
            pred.get('masks'),
            category_ids,
            instance_keypoints(pred),
        )
    write_json(path, entries)
    return len(entries)


def write_class_files(
    lines: Sequence[Sequence[str]], classes: Sequence[str], folder: str | Path, name: str
) -> list[Path]:
    """Write a file of lines for each class, empty ones too; ``name`` has ``{}`` for the class. Return the files."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = [Path(folder, name.format(class_name)) for class_name in classes]
    for file, text in zip(files, lines, strict=True):
        file.write_text(''.join(f'{line}\n' for line in text), encoding='utf-8')
    return files
