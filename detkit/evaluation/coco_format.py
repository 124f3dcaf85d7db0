"""COCO's results file from evaluated samples, and files of one class each."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from detkit.evaluation.instance_columns import instance_keypoints
from detkit.structures.data_sample import DetDataSample
from detkit.utils.tables import write_json


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
    # The shortest numbers that are these float32 again: rounding would tie scores, which orders detections anew.
    written = [float(str(score)) for score in np.asarray(scores, np.float32)]
    for i, (score, (x0, y0, x1, y1)) in enumerate(zip(written, np.asarray(bboxes, np.float64).tolist(), strict=True)):
        entry = {
            'image_id': img_id,
            'category_id': category_ids[int(labels[i])],
            'bbox': [round(x0, 3), round(y0, 3), round(x1 - x0, 3), round(y1 - y0, 3)],
            'score': score,
        }
        if rles is not None:
            entry['segmentation'] = {'size': list(rles[i]['size']), 'counts': rles[i]['counts'].decode('ascii')}
        if keypoints is not None:
            entry['keypoints'] = np.round(keypoints[i].astype(np.float64), 3).ravel().tolist()
        entries.append(entry)
    return entries


def written_images(samples: Sequence[DetDataSample]) -> list[tuple[int | float | str, DetDataSample]]:
    """Return each image once, with the id that a results file has for it: its path where others have its id, too.

    Datasets that are joined may each count their images from 1, or show one image with different objects.
    """
    images = list({(sample.img_path, str(sample.img_id)): sample for sample in samples}.values())
    counts = Counter(str(sample.img_id) for sample in images)
    recurring = sum(count for count in counts.values() if count > 1)
    if recurring:
        text = f'{recurring} images have ids that others have, too: the file of predictions names them by their paths'
        print_log(text, 'current', logging.WARNING)
    return [(sample.img_path if counts[str(sample.img_id)] > 1 else sample.img_id, sample) for sample in images]


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
    for img_id, sample in written_images(samples):
        pred = sample.pred_instances
        entries += result_entries(
            img_id,
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
