"""Labels that are probably wrong: tiny, thin, outside the image, duplicate, unlike their outline, of unusual size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detkit.analysis.data.annotations_table import SplitTable
from detkit.structures.bboxes import pairwise_iou
from detkit.structures.rotated_bboxes import rbbox_corners

# With the thresholds, attributes of ``Limits``, in braces.
_MEANINGS = {
    'tiny': 'a side shorter than {tiny:g} pixels',
    'thin': 'one side more than {thin:g} times the other',
    'outside': 'reaches more than {outside:g} pixels beyond the picture',
    'duplicate': 'two objects of one class with almost the same box (IoU above {duplicate:g})',
    'ambiguous': 'objects of two classes with almost the same box (IoU above {duplicate:g})',
    'outline': 'the outline and the box do not agree (IoU below {outline:g})',
    'keypoints': 'a labelled keypoint outside the picture',
    'large': 'far larger than usual in its class: {unusual}',
    'small': 'far smaller than usual in its class: {unusual}',
    'wide': 'far wider than usual in its class: {unusual}',
    'narrow': 'far narrower than usual in its class: {unusual}',
}
ISSUE_KINDS = tuple(_MEANINGS)


@dataclass(frozen=True)
class Limits:
    """Thresholds from which a label is an issue.

    Attributes:
        tiny: shortest side in pixels of an object that is no issue.
        thin: largest ratio of the longer side to the shorter.
        outside: pixels that a box may reach beyond the image; only the centre of a rotated box must lie inside.
        duplicate: largest overlap (IoU) of two objects.
        outline: least overlap (IoU) of the box and the box around the outline.
        deviations: robust standard deviations by which the size or the aspect of an object may differ from its class's
            median, see ``find_unusual_sizes``.
        factor: the factor by which it may differ all the same.
        min_objects: objects of a class without which nothing is known about their usual size.
    """

    tiny: float = 4.0
    thin: float = 20.0
    outside: float = 2.0
    duplicate: float = 0.9
    outline: float = 0.5
    deviations: float = 5.0
    factor: float = 2.0
    min_objects: int = 20

    def meaning(self, kind: str) -> str:
        """Return what an issue of one of ``ISSUE_KINDS`` means, with its thresholds."""
        unusual = (
            f'more than {self.deviations:g} robust standard deviations and {self.factor:g} times off the median of at '
            f'least {self.min_objects} objects'
        )
        return _MEANINGS[kind].format(**vars(self), unusual=unusual)


@dataclass(frozen=True)
class LabelIssue:
    """A label that may be wrong.

    Attributes:
        kind: a key of ``ISSUE_KINDS``.
        index: the object's index in its ``SplitTable``.
        other: the index of the object that it collides with, or None.
        detail: the measured value, as text.
        deviations: robust standard deviations from the class's median of an object of unusual size, else 0.
    """

    kind: str
    index: int
    other: int | None
    detail: str
    deviations: float = 0.0


def find_label_issues(table: SplitTable, limits: Limits | None = None) -> list[LabelIssue]:
    """Return all label issues of a split that a look at one image finds, sorted by kind and object.

    Ignored objects (crowds) have none.
    """
    limits = limits or Limits()
    found = [
        *_sizes(table, limits),
        *_outside(table, limits),
        *_collisions(table, limits),
        *_outlines(table, limits),
        *_keypoints(table),
    ]
    order = {kind: index for index, kind in enumerate(ISSUE_KINDS)}
    return sorted(found, key=lambda one: (order[one.kind], one.index))


def _sizes(table: SplitTable, limits: Limits) -> Iterator[LabelIssue]:
    wh = table.sizes_wh
    tiny = (wh.min(1) < limits.tiny) & ~table.ignored
    for i in np.flatnonzero(tiny):
        yield LabelIssue('tiny', int(i), None, f'{wh[i, 0]:.3g} x {wh[i, 1]:.3g} pixels')
    ratio = wh.max(1) / np.maximum(wh.min(1), 1e-9)
    for i in np.flatnonzero((ratio > limits.thin) & ~tiny & ~table.ignored):
        yield LabelIssue('thin', int(i), None, f'{wh[i, 0]:.3g} x {wh[i, 1]:.3g} pixels, {ratio[i]:.0f} : 1')


def _outside(table: SplitTable, limits: Limits) -> Iterator[LabelIssue]:
    shapes_wh = table.object_shapes[:, ::-1]
    known = (shapes_wh > 0).all(1) & ~table.ignored
    if table.rbboxes is None:
        beyond = np.maximum(-table.bboxes[:, :2], table.bboxes[:, 2:] - shapes_wh).max(1)
    else:
        centres = table.rbboxes[:, :2]
        beyond = np.maximum(-centres, centres - shapes_wh).max(1)
    for i in np.flatnonzero((beyond > limits.outside) & known):
        what = 'its middle lies' if table.rbboxes is not None else 'it reaches'
        yield LabelIssue('outside', int(i), None, f'{what} {beyond[i]:.3g} pixels beyond the edge')


def _collisions(table: SplitTable, limits: Limits) -> Iterator[LabelIssue]:
    usable = np.flatnonzero(~table.ignored)
    edges = np.searchsorted(table.images[usable], np.arange(len(table.records) + 1))
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if stop - start < 2:
            continue
        own = usable[start:stop]
        # Objects in a row beside each other, turned, share upright boxes: corners must lie close, too.
        overlaps = np.triu(pairwise_iou(table.bboxes[own], table.bboxes[own]), 1)
        for a, b in np.argwhere(overlaps > limits.duplicate):
            one, other = int(own[a]), int(own[b])
            if table.rbboxes is not None and not _same_rectangle(table.rbboxes[[one, other]]):
                continue
            same = table.labels[one] == table.labels[other]
            yield LabelIssue('duplicate' if same else 'ambiguous', one, other, f'IoU {overlaps[a, b]:.3f}')


def _same_rectangle(rbboxes: np.ndarray) -> bool:
    """Return whether each corner of the first is within a tenth of the short side of a corner of the second."""
    first, second = rbbox_corners(rbboxes)
    gaps = np.linalg.norm(first[:, None] - second[None], axis=2).min(1)
    return bool(gaps.max() <= 0.1 * max(1.0, rbboxes[:, 2:4].min()))


def _outlines(table: SplitTable, limits: Limits) -> Iterator[LabelIssue]:
    if table.outlines is None:
        return
    outlines, boxes = table.outlines, table.bboxes
    wh = np.minimum(outlines[:, 2:], boxes[:, 2:]) - np.maximum(outlines[:, :2], boxes[:, :2])
    shared = wh.clip(0).prod(1)
    areas = [(of[:, 2:] - of[:, :2]).prod(1) for of in (outlines, boxes)]
    overlap = shared / np.maximum(areas[0] + areas[1] - shared, 1e-9)
    # An object without an outline has zeros.
    for i in np.flatnonzero((overlap < limits.outline) & outlines.any(1) & ~table.ignored):
        yield LabelIssue('outline', int(i), None, f'the box around the outline and the box overlap by {overlap[i]:.2f}')


def _keypoints(table: SplitTable) -> Iterator[LabelIssue]:
    if table.keypoints is None:
        return
    points, labelled = table.keypoints[..., :2], table.keypoints[..., 2] > 0
    shapes_wh = table.object_shapes[:, None, ::-1]
    outside = labelled & ((points < 0) | (points > shapes_wh)).any(2) & (shapes_wh > 0).all(2)
    names = table.metainfo.get('keypoint_names') or range(points.shape[1])
    for i in np.flatnonzero(outside.any(1) & ~table.ignored):
        yield LabelIssue('keypoints', int(i), None, ', '.join(str(names[k]) for k in np.flatnonzero(outside[i])))
