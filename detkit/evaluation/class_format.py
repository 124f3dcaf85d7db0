"""The results file of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Classes of an image that are written to files.
NUM_LISTED = 5


def class_entry(
    img_path: str, img_id: str, labels: Sequence[int], scores: Sequence[float], classes: Sequence[str]
) -> dict[str, Any]:
    """Return the json entry of one image: its most probable class, and the five most probable ones in ``top5``.

    Args:
        labels, scores: the most probable classes, best first.
        classes: names of the labels.
    """
    ranked = [
        {'category_id': int(label), 'category_name': classes[int(label)], 'score': round(float(score), 6)}
        for label, score in zip(labels[:NUM_LISTED], scores[:NUM_LISTED], strict=True)
    ]
    return {'file_name': img_path, 'image_id': img_id, **ranked[0], 'top5': ranked}
