"""What holds of every dataset that was read, however odd its files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from detkit.datasets import DetDataset
from detkit.structures.annotations import Annotations, Record


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8', errors='replace')
    return path


def records_by_name(dataset: DetDataset) -> dict[str, Record]:
    return {os.path.basename(record.img_path): record for record in dataset.records}


def reasons(skips: list) -> list[str]:
    return [skip.reason for skip in skips]


def check_sound(dataset: DetDataset) -> int:
    """Assert that all objects lie inside their images and that all that is left out has a reason; count objects."""
    count, num_classes = 0, len(dataset.metainfo['classes'])
    assert num_classes > 0 and all(isinstance(name, str) and name for name in dataset.metainfo['classes'])
    for record in dataset.records:
        assert os.path.isfile(record.img_path)
        check_annotations(record.annotations, record.ori_shape, num_classes)
        count += len(record.annotations)
    for skip in [*dataset.skipped, *dataset.unused]:
        assert skip.reason and skip.count > 0 and len(skip.reason) < 20_000
    return count


def check_annotations(annotations: Annotations, shape: tuple[int, int], num_classes: int) -> None:
    height, width = shape
    bboxes = annotations.bboxes
    assert ((annotations.labels >= 0) & (annotations.labels < num_classes)).all()
    assert (bboxes >= 0).all() and (bboxes <= [width, height, width, height]).all()
    assert (bboxes[:, 2:] > bboxes[:, :2]).all() and np.isfinite(annotations.areas).all()
    if annotations.polygons is not None:
        assert (annotations.polygons.ring_sizes >= 3).all() and np.isfinite(annotations.polygons.points).all()
    for rle in annotations.rles or ():
        assert rle is None or tuple(rle['size']) == shape
    if annotations.keypoints is not None:
        assert np.isfinite(annotations.keypoints).all()
    if annotations.rbboxes is not None:
        assert np.isfinite(annotations.rbboxes).all()
