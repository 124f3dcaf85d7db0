"""Tables of objects without files."""

from __future__ import annotations

from typing import Any

import numpy as np

from detkit.analysis.data.annotations_table import SplitTable
from detkit.structures.annotations import Record


def table(
    bboxes: Any,
    labels: Any = None,
    images: Any = None,
    shape: tuple[int, int] = (100, 200),
    name: str = 'train',
    **arrays: Any,
) -> SplitTable:
    """Return the objects of images of one size, of the classes cat and dog; of one image and all cats if left out."""
    bboxes = np.array(bboxes, np.float64).reshape(-1, 4)
    count = len(bboxes)
    images = np.zeros(count, np.int64) if images is None else np.array(images)
    num_images = int(images.max(initial=0)) + 1
    return SplitTable(
        name,
        [Record(f'{name}{i}.jpg', i, shape, None) for i in range(num_images)],
        np.tile(shape, (num_images, 1)),
        images,
        np.arange(count),
        np.zeros(count, np.int64) if labels is None else np.array(labels, np.int64),
        bboxes,
        arrays.pop('ignored', np.zeros(count, bool)),
        arrays.pop('areas', (bboxes[:, 2:] - bboxes[:, :2]).prod(1)),
        metainfo={'classes': ('cat', 'dog')},
        **arrays,
    )
