"""Sliced inference: the parts of an image, and the merging of what neighbouring tiles show of one object."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData

from detkit.inference.view_options import ViewOptions, tile_shape
from detkit.inference.views import Rect
from detkit.structures.masks import InstanceMasks
from detkit.structures.polygons import Polygons
from detkit.structures.rotated_bboxes import corners_to_rbboxes, rbbox_corners
from detkit.structures.rotated_iou import rotated_intersections
from detkit.structures.tile_grid import tile_rects

# A box that ends this near to a border inside the image, as a share of the tile's side, is taken to be cut there.
_CUT_MARGIN = 0.01


def parts_of(shape: tuple[int, int], options: ViewOptions) -> list[Rect]:
    """Return the parts of an image of (h, w) to predict on: its tiles and, where it is wanted, the whole image."""
    whole = (0, 0, shape[1], shape[0])
    if options.tile is None:
        return [whole]
    height, width = tile_shape(options.tile)
    overlap = (int(height * options.tile_overlap), int(width * options.tile_overlap))
    rects = tile_rects(shape, (height, width), overlap)
    return [*rects, whole] if options.tile_whole and len(rects) > 1 else rects


def join_tiles(
    parts: Sequence[InstanceData],
    rects: Sequence[Rect],
    img_shape: tuple[int, int],
    options: ViewOptions,
    class_agnostic: bool = False,
) -> InstanceData:
    """Merge the predictions on overlapping parts of an image, best first.

    Boxes of one part are never compared with each other: that is what the detector's own suppression did. A box that
    the border of a part cuts comes behind all boxes that are whole, whatever its score: a whole box of an object
    replaces the cut ones. Where all are cut, they are united ('nmm'): the box is the one around all of them (of rotated
    boxes the rectangle of least area), the mask is the union, each keypoint is the one with the best score, and
    the score is that of the best box.

    Args:
        parts: predictions on each part in pixels of the image, with the same fields.
        rects: the parts.
        img_shape: (h, w) of the image.
        options: the settings of tiles.
        class_agnostic: boxes of different classes may belong to one object.
    """
    found = InstanceData.cat(list(parts))
    count = len(found.bboxes)
    if not count:
        return found
    borders = np.array(rects, np.float64)
    part_of = np.repeat(np.arange(len(parts)), [len(part.bboxes) for part in parts])
    boxes = _Boxes(found)
    cut = _is_cut(boxes.bboxes, borders[part_of], img_shape)
    labels = np.zeros(count, np.int64) if class_agnostic else found.labels.numpy()
    pairs = list(_matches(boxes, labels, part_of, borders, options))
    neighbours = _neighbours(np.concatenate([np.zeros((0, 2), np.int64), *pairs]), count)
    scores = found.scores.numpy()
    groups = _group(
        np.lexsort((-scores, cut)), neighbours, cut if options.tile_merge == 'nmm' else np.zeros(count, bool)
    )
    groups = sorted(groups, key=lambda group: -scores[group[0]])
    leaders = torch.tensor([group[0] for group in groups])
    joined = found[leaders]
    if options.tile_merge == 'nmm':
        for place, group in enumerate(groups):
            if len(group) > 1 and cut[group[0]]:
                _unite(joined, place, found[torch.tensor(group)])
    return joined


class _Boxes:
    """The boxes of all parts: ``bboxes (N, 4)`` float64, and ``rbboxes (N, 5)`` where they are rotated, else None."""

    def __init__(self, found: InstanceData) -> None:
        self.bboxes = found.bboxes.double().numpy()
        self.rbboxes = found.rbboxes.double() if 'rbboxes' in found else None

    def overlaps(self, first: np.ndarray, second: np.ndarray, area: np.ndarray, metric: str) -> np.ndarray:
        """Return the overlap of each of the boxes ``first (P,)`` with the one at the same index of ``second``.

        Args:
            first, second: indices of the boxes, whose upright hulls meet.
            area: what the parts of the two boxes share, xyxy.
            metric: see ``ViewOptions.tile_metric``.
        """
        if self.rbboxes is not None and metric == 'shared':
            return self._rotated_in(first, second, area)
        if self.rbboxes is not None:
            a, b = self.rbboxes[first], self.rbboxes[second]
            shared = rotated_intersections(a, b).numpy()
            return _ratio(shared, a[:, 2:4].prod(1).numpy(), b[:, 2:4].prod(1).numpy(), metric)
        a, b = self.bboxes[first], self.bboxes[second]
        if metric == 'shared':
            a, b = _clipped(a, area), _clipped(b, area)
        shared = (np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])).clip(0).prod(1)
        return _ratio(shared, (a[:, 2:] - a[:, :2]).prod(1), (b[:, 2:] - b[:, :2]).prod(1), metric)

    def _rotated_in(self, first: np.ndarray, second: np.ndarray, area: np.ndarray) -> np.ndarray:
        """Return the IoU of rotated boxes inside ``area``."""
        used, index = np.unique(np.concatenate([first, second]), return_inverse=True)
        corners = rbbox_corners(self.rbboxes[used].numpy())
        count = len(used)
        clipped = Polygons(corners.reshape(-1, 2), np.full(count, 4), np.arange(count)).clip(area)
        areas = clipped.areas(count)
        rings = dict(zip(clipped.ring_owners.tolist(), clipped.rings(), strict=True))
        shared = np.zeros(len(first))
        for i, (a, b) in enumerate(index.reshape(2, -1).T.tolist()):
            if areas[a] > 0 and areas[b] > 0:
                # The corner of the area as origin: OpenCV computes in single precision.
                outlines = [(rings[key] - area[:2]).astype(np.float32) for key in (a, b)]
                shared[i] = cv2.intersectConvexConvex(*outlines)[0]
        firsts, seconds = index.reshape(2, -1)
        return _ratio(shared, areas[firsts], areas[seconds], 'iou')


def _ratio(shared: np.ndarray, first: np.ndarray, second: np.ndarray, metric: str) -> np.ndarray:
    whole = np.minimum(first, second) if metric == 'ios' else first + second - shared
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def _clipped(bboxes: np.ndarray, area: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [bboxes[:, :2].clip(area[:2], area[2:]), bboxes[:, 2:].clip(area[:2], area[2:])],
        1,
    )


def _is_cut(bboxes: np.ndarray, borders: np.ndarray, img_shape: tuple[int, int]) -> np.ndarray:
    """Return ``(N,)`` bool: which boxes end at a border of their part that is none of the image.

    Args:
        bboxes: ``(N, 4)`` xyxy.
        borders: ``(N, 4)`` xyxy, the part of each box.
        img_shape: (h, w).
    """
    margins = np.tile((borders[:, 2:] - borders[:, :2]) * _CUT_MARGIN, 2)
    inner = borders != [0, 0, img_shape[1], img_shape[0]]
    return (inner & (np.abs(bboxes - borders) <= margins)).any(1)


def _matches(
    boxes: _Boxes, labels: np.ndarray, part_of: np.ndarray, borders: np.ndarray, options: ViewOptions
) -> Iterator[np.ndarray]:
    """Yield ``(P, 2)``, the pairs of boxes of two parts that belong to one object, for all parts that overlap."""
    starts = np.searchsorted(part_of, np.arange(len(borders) + 1))
    for part in range(len(borders)):
        areas = np.concatenate(
            [
                np.maximum(borders[part, :2], borders[part + 1 :, :2]),
                np.minimum(borders[part, 2:], borders[part + 1 :, 2:]),
            ],
            1,
        )
        for ahead in np.flatnonzero((areas[:, 2:] > areas[:, :2]).all(1)):
            area, other = areas[ahead], part + 1 + ahead
            first, second = (
                starts[each] + np.flatnonzero(_meets(boxes.bboxes[starts[each] : starts[each + 1]], area))
                for each in (part, other)
            )
            if len(first) and len(second):
                meets = _meets(boxes.bboxes[first][:, None], boxes.bboxes[second][None])
                rows, columns = np.nonzero(meets & (labels[first][:, None] == labels[second]))
                first, second = first[rows], second[columns]
                overlaps = boxes.overlaps(first, second, area, options.tile_metric)
                yield np.stack([first, second], 1)[overlaps > options.tile_merge_thr]


def _meets(bboxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which boxes share a point with the others; both are broadcast, with xyxy in the last dimension."""
    return ((bboxes[..., :2] < others[..., 2:]) & (bboxes[..., 2:] > others[..., :2])).all(-1)


def _neighbours(pairs: np.ndarray, count: int) -> list[np.ndarray]:
    """Return for each of ``count`` boxes those that are paired with it."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind='stable')]
    return np.split(both[:, 1], np.searchsorted(both[:, 0], np.arange(1, count)))


def _group(order: np.ndarray, neighbours: Sequence[np.ndarray], chained: np.ndarray) -> list[list[int]]:
    """Divide boxes into objects, greedily.

    Args:
        order: the boxes, those that lead a group first.
        neighbours: see ``_neighbours``.
        chained: ``(N,)`` bool: a group that such a box leads also takes the neighbours of its members.

    Returns:
        The boxes of each object, the leading one first.
    """
    free = np.ones(len(order), bool)
    groups = []
    for leader in order.tolist():
        if not free[leader]:
            continue
        free[leader] = False
        group, ahead = [leader], deque([leader])
        while ahead:
            for other in neighbours[ahead.popleft()].tolist():
                if free[other]:
                    free[other] = False
                    group.append(other)
                    if chained[leader]:
                        ahead.append(other)
        groups.append(group)
    return groups


def _unite(joined: InstanceData, place: int, members: InstanceData) -> None:
    """Set the object at an index to the union of its members; the first of them gives the score and the label."""
    joined.bboxes[place, :2] = members.bboxes[:, :2].amin(0)
    joined.bboxes[place, 2:] = members.bboxes[:, 2:].amax(0)
    if 'rbboxes' in joined:
        corners = rbbox_corners(members.rbboxes.double().numpy()).reshape(1, -1, 2)
        joined.rbboxes[place] = torch.from_numpy(corners_to_rbboxes(corners))[0]
    if 'keypoints' in joined:
        best = members.keypoint_scores.argmax(0)  # (K,)
        each = torch.arange(len(best))
        joined.keypoints[place] = members.keypoints[best, each]
        joined.keypoint_scores[place] = members.keypoint_scores[best, each]
    if 'masks' in joined:
        joined.masks.crops[place], joined.masks.offsets[place] = _union(members.masks)


def _union(masks: InstanceMasks) -> tuple[np.ndarray, np.ndarray]:
    """Return the crop and the offset of the union of masks."""
    sizes = np.array([crop.shape[::-1] for crop in masks.crops])
    filled = np.flatnonzero(sizes.all(1))
    if not len(filled):
        return masks.crops[0], masks.offsets[0]
    starts, ends = masks.offsets[filled], masks.offsets[filled] + sizes[filled]
    origin = starts.min(0)
    width, height = ends.max(0) - origin
    union = np.zeros((height, width), bool)
    for i, (x, y) in zip(filled, starts - origin, strict=True):
        crop = masks.crops[i]
        union[y : y + crop.shape[0], x : x + crop.shape[1]] |= crop
    return union, origin
