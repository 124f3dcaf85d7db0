"""Prediction into a folder (``tools/predict.py``): a picture for each image and one json."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import torch
from mmengine.structures import InstanceData

from detkit.evaluation.accuracy_metric import class_entry
from detkit.evaluation.coco_format import result_entries
from detkit.evaluation.rotated_format import rotated_fields
from detkit.inference.predictor import Predictor
from detkit.inference.sources import Source
from detkit.structures.data_sample import DetDataSample, best_classes
from detkit.utils.pictures import unique_name, write_picture
from detkit.utils.tables import write_json
from detkit.visualization.drawing import draw_data_sample


def predict_to_folder(
    predictor: Predictor,
    source: Source,
    out_dir: str | Path,
    pictures: bool = True,
    json_name: str | None = 'predictions.json',
) -> int:
    """Predict on all images of ``source``, saying on the console what was found in each.

    Args:
        predictor: the predictor, which holds all settings.
        source: see ``find_images``.
        out_dir: the folder for the pictures and the json; made if it is missing.
        pictures: whether to draw pictures.
        json_name: file in ``out_dir``: a list of entries as in COCO's results files, with ``file_name`` and
            ``category_name`` besides (``category_id`` counts from 0, as labels do); from a classifier one entry an
            image with its five most probable classes in ``top5``; of rotated boxes also ``rbbox`` and ``corners``; of a
            head that divides the whole image one entry a segment; None writes none.

    Returns:
        The number of images predicted on.

    Raises:
        DataError: ``source`` names no image.
    """
    stream = predictor.stream(source)
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    entries: list[dict] = []
    taken: set[str] = set()
    skipped: list[str] = []
    count, start = 0, time.perf_counter()
    for img, sample in stream:
        if img is None:
            skipped.append(sample.skipped)
            continue
        count += 1
        entries += prediction_entries(sample, predictor.classes)
        if pictures:
            name = unique_name(Path(sample.img_path).stem, '.jpg', taken)
            picture = draw_data_sample(
                img,
                sample,
                'pred',
                predictor.classes,
                predictor.score_thr,
                keypoint_info=predictor.model.info.keypoints,
            )
            write_picture(out_dir / name, picture)
        print(f'{sample.img_path}: {describe(sample, predictor.classes)}')
    seconds = time.perf_counter() - start
    for reason in skipped:
        print(f'skipped: {reason}')
    if json_name:
        write_json(out_dir / json_name, entries)
    unread = f', {len(skipped)} could not be read' if skipped else ''
    found = '' if predictor.classifies else f', {len(entries)} objects'
    print(f'{count} images{unread}{found}, {1000 * seconds / max(count, 1):.0f} ms an image; results in {out_dir}')
    return count


def prediction_entries(sample: DetDataSample, classes: tuple[str, ...]) -> list[dict]:
    """Return the json entries of one image."""
    if 'pred_scores' in sample:
        labels, scores = best_classes(sample.pred_scores, len(classes))
        return [class_entry(sample.img_path, sample.img_id, labels, scores, classes)]
    found = _found(sample)
    rles = found.masks.to_rle() if 'masks' in found else None
    labels, keypoints = found.labels.tolist(), None
    if 'keypoints' in found:
        keypoints = torch.cat([found.keypoints, found.keypoint_scores.unsqueeze(-1)], -1).cpu().numpy()
    entries = result_entries(
        sample.img_id, found.bboxes.cpu().numpy(), labels, found.scores.tolist(), rles, range(len(classes)), keypoints
    )
    if 'rbboxes' in found:
        fields = rotated_fields(found.rbboxes.cpu().numpy())
        entries = [{**entry, **extra} for entry, extra in zip(entries, fields, strict=True)]
    return [
        {'file_name': sample.img_path, **entry, 'category_name': classes[label]}
        for entry, label in zip(entries, labels, strict=True)
    ]


def describe(sample: DetDataSample, classes: tuple[str, ...]) -> str:
    """Return a summary of a prediction: '2 person, 1 dog'; of a classified image 'rain 0.93, cloudy 0.05'."""
    if 'pred_scores' in sample:
        best = zip(*best_classes(sample.pred_scores, 3), strict=True)
        return ', '.join(f'{classes[label]} {score:.2f}' for label, score in best)
    counts = Counter(_found(sample).labels.tolist())
    return ', '.join(f'{count} {classes[label]}' for label, count in counts.most_common()) or 'nothing found'


def _found(sample: DetDataSample) -> InstanceData:
    """Return the objects of an image; its segments, where it is divided into such."""
    return sample.pred_panoptic.to_instances() if 'pred_panoptic' in sample else sample.pred_instances
