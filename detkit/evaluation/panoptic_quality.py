"""Panoptic quality: which predicted segment is which true one, and the figures made of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detkit.structures.panoptic import PanopticSegments

_NO_LABELS = np.zeros(0, np.int64)


@dataclass
class PanopticMatches:
    """What counts of one image.

    Attributes:
        labels: ``(K,)`` int64, of the segments that were found.
        ious: ``(K,)`` float64, how well.
        false_labels: of predicted segments that are none.
        missed_labels: of true segments that were not found.
        img_id, img_path: the image.
        segments_info: the predicted segments as COCO's json lists them, with labels for category ids; where asked for.
    """

    labels: np.ndarray
    ious: np.ndarray
    false_labels: np.ndarray
    missed_labels: np.ndarray
    img_id: int | str = ''
    img_path: str = ''
    segments_info: Sequence[dict] = ()

    @property
    def highest_label(self) -> int:
        every = np.concatenate([self.labels, self.false_labels, self.missed_labels])
        return int(every.max(initial=-1))


def match_segments(truth: PanopticSegments, predicted: PanopticSegments) -> PanopticMatches:
    """Compares two divisions of an image, as COCO does.

    A predicted and a true segment of one class belong together when their IoU is above one half, which no segment can
    be with two others. Predicted pixels on void (no true segment) count for no union. A predicted segment more than
    half of which lies on void or on crowds of its class is not held against anyone; crowds themselves are never missed.

    Raises:
        ValueError: the two are of different sizes.
    """
    if truth.index_map.shape != predicted.index_map.shape:
        raise ValueError(f'segments of {predicted.index_map.shape} pixels, but the image has {truth.index_map.shape}')
    rows, columns = len(truth) + 1, len(predicted) + 1
    joint = truth.index_map.ravel().astype(np.int64) * columns + predicted.index_map.ravel()
    shared = np.bincount(joint, minlength=rows * columns).reshape(rows, columns)
    areas, predicted_areas = shared.sum(1)[1:], shared.sum(0)[1:]
    void, shared = shared[0, 1:], shared[1:, 1:]  # (P,), (T, P)
    same_class = truth.labels[:, None] == predicted.labels
    unions = areas[:, None] + predicted_areas - shared - void
    ious = np.divide(shared, unions, out=np.zeros(shared.shape), where=unions > 0)
    matched = same_class & ~truth.ignored[:, None] & (ious > 0.5)
    found, finds = np.nonzero(matched)
    excused = void + (shared * (same_class & truth.ignored[:, None])).sum(0)
    false = ~matched.any(0) & (predicted_areas > 0) & (excused <= 0.5 * predicted_areas)
    missed = ~matched.any(1) & ~truth.ignored
    return PanopticMatches(truth.labels[found], ious[found, finds], predicted.labels[false], truth.labels[missed])


def panoptic_quality(results: Sequence[PanopticMatches], num_classes: int) -> dict[str, np.ndarray]:
    """The figures of each class over all images, ``(C,)`` each.

    ``found``, ``false`` and ``missed`` are counts, ``count`` is their sum. With IoU the sum over the found ones,
    ``SQ`` = IoU / found, ``RQ`` = found / (found + false / 2 + missed / 2), and ``PQ`` = ``SQ`` * ``RQ``; 0 for a class
    with nothing to divide by.
    """

    def total(name: str, weights: np.ndarray | None = None) -> np.ndarray:
        labels = np.concatenate([getattr(result, name) for result in results] or [_NO_LABELS])
        return np.bincount(labels, weights, minlength=num_classes)

    ious = total('labels', np.concatenate([result.ious for result in results] or [np.zeros(0)]))
    found, false, missed = total('labels'), total('false_labels'), total('missed_labels')
    denominator = found + false / 2 + missed / 2
    figures = {
        name: np.divide(above, below, out=np.zeros(num_classes), where=below > 0)
        for name, above, below in (('PQ', ious, denominator), ('SQ', ious, found), ('RQ', found, denominator))
    }
    return {**figures, 'found': found, 'false': false, 'missed': missed, 'count': found + false + missed}
