"""Counts of a dataset's classes and objects an image, and the objects' positions and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from detkit.datasets.wrappers import leaf_datasets


@dataclass(frozen=True)
class LabelStatistics:
    """Statistics of the objects that are not ignored, in I images; of a classifier's data, of I labels.

    Attributes:
        classes: names of the labels.
        counts: ``(C,)`` objects, or a classifier's images, of each class.
        per_image: ``(I,)`` objects of each image; of a classifier's data empty.
        bboxes: ``(M, 4)`` float32 cx, cy, w, h as shares of the image's sides, of the images whose size is known.
    """

    classes: tuple[str, ...]
    counts: np.ndarray
    per_image: np.ndarray
    bboxes: np.ndarray


def label_statistics(dataset: Any) -> LabelStatistics | None:
    """Count the labels of all parts of a dataset, each part once however often it is repeated; read no image.

    Returns:
        The statistics; None for a dataset without records.
    """
    records = [record for leaf in leaf_datasets(dataset) for record in getattr(leaf, 'records', ())]
    if not records:
        return None
    labels, per_image, bboxes = [np.zeros(0, np.int64)], [], [np.zeros((0, 4), np.float32)]
    for record in records:
        if record.class_label is not None:
            labels.append(np.array([record.class_label]))
            continue
        objects = record.annotations
        counted = np.flatnonzero(~objects.ignored)
        labels.append(objects.labels[counted])
        per_image.append(len(counted))
        if record.ori_shape is not None:
            bboxes.append(objects.bboxes[counted] / np.tile(record.ori_shape[::-1], 2).astype(np.float32))
    x0, y0, x1, y1 = np.concatenate(bboxes).T
    classes = tuple(dataset.metainfo['classes'])
    return LabelStatistics(
        classes,
        np.bincount(np.concatenate(labels), minlength=len(classes)),
        np.array(per_image, np.int64),
        np.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], 1),
    )
