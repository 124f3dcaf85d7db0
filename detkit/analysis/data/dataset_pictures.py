"""Pictures of label issues and of images that look the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from detkit.analysis.data.annotations_table import SplitTable
from detkit.analysis.data.dataset_stats import DatasetStats
from detkit.analysis.data.label_issues import LabelIssue
from detkit.analysis.data.near_duplicates import NearDuplicates
from detkit.analysis.data.orientations import ORIENTATION_NAMES
from detkit.datasets.transforms.loading import UnreadableImageError, read_image
from detkit.structures.bboxes import bbox_corners
from detkit.structures.rotated_bboxes import rbbox_corners
from detkit.utils.errors import shorten
from detkit.visualization.drawing import draw_instances
from detkit.visualization.palette import class_colour
from detkit.visualization.sheets import fit, grid, with_caption
from detkit.visualization.windows import Window

_SIDE = 220  # of a picture among those that look the same
_CUT_SIDE = 300  # of an object cut out of its image
_OUTLINE_COLOUR = (255, 255, 0)
MAX_SHOWN_DUPLICATES = 6  # of a group that are shown


def issue_pictures(
    stats: DatasetStats, own: Sequence[tuple[int, LabelIssue]], most: int
) -> Iterator[tuple[np.ndarray, str]]:
    """Yield the objects, cut out of their images, each with the object that it collides with."""
    for split, one in own[:most]:
        table = stats.tables[split]
        path = stats.path(split, table.images[one.index])
        try:
            img = read_image(path)
        except UnreadableImageError:
            continue  # which is listed as such
        indices = [one.index] if one.other is None else [one.index, one.other]
        yield (
            _object_picture(img, table, indices, stats.classes, one.kind == 'outline'),
            f'{table.name}: {Path(path).name}, object {table.numbers[one.index]}, {one.detail}',
        )


def _object_picture(
    img: np.ndarray, table: SplitTable, indices: list[int], classes: Sequence[str], with_outline: bool
) -> np.ndarray:
    corners = bbox_corners(table.bboxes[indices]) if table.rbboxes is None else rbbox_corners(table.rbboxes[indices])
    points, rings, extra = [corners.reshape(-1, 2)], [], {}
    if with_outline:
        polygons = table.records[table.images[indices[0]]].annotations.polygons
        rings = [
            ring
            for ring, owner in zip(polygons.rings(), polygons.ring_owners, strict=True)
            if owner == table.numbers[indices[0]]
        ]
        points += rings
    if table.keypoints is not None:
        keypoints = table.keypoints[indices]
        points.append(keypoints[keypoints[..., 2] > 0, :2])
    window = Window.around(np.concatenate(points), img.shape[:2], _CUT_SIDE)
    if table.keypoints is not None:
        extra = dict(
            keypoints=np.concatenate([window.moved(keypoints[..., :2]), keypoints[..., 2:]], 2),
            keypoint_info=table.metainfo,
        )
    if table.rbboxes is not None:
        extra['rbboxes'] = window.moved_rbboxes(table.rbboxes[indices])
    moved = window.moved(corners)
    bboxes = np.concatenate([moved.min(1), moved.max(1)], 1)
    picture = draw_instances(window.cut(img), bboxes, table.labels[indices], classes, **extra)
    for ring in rings:
        cv2.polylines(picture, [np.rint(window.moved(ring)).astype(np.int32)], True, _OUTLINE_COLOUR, 2, cv2.LINE_AA)
    return picture


def near_duplicate_picture(stats: DatasetStats, group: NearDuplicates) -> np.ndarray:
    """Draw the first images of a group side by side with their boxes, each as its file has it."""
    cells = []
    for (split, image), orientation in list(zip(group.members, group.orientations, strict=True))[:MAX_SHOWN_DUPLICATES]:
        table = stats.tables[split]
        try:
            img = read_image(stats.path(split, image))
        except UnreadableImageError:  # readable to the hash's reader, but cut short
            img = np.full((_SIDE, _SIDE, 3), 114, np.uint8)
        cell = _with_objects(fit(img, _SIDE, enlarge=True), table, image)
        if group.turned:
            cell = with_caption(cell, ORIENTATION_NAMES[orientation] if cells else '')
        cells.append(with_caption(cell, table.name))
    return grid(cells, min(3, len(cells)))


def _with_objects(img: np.ndarray, table: SplitTable, image: int) -> np.ndarray:
    """Draw an image's objects on a picture of it that may be smaller."""
    start, stop = np.searchsorted(table.images, [image, image + 1])
    if start == stop:
        return img
    scale_wh = np.divide(img.shape[1::-1], table.shapes[image, ::-1])
    corners = bbox_corners(table.bboxes[start:stop])
    if table.rbboxes is not None:
        corners = rbbox_corners(table.rbboxes[start:stop])
    img = img.copy()
    for quad, label in zip(corners * scale_wh, table.labels[start:stop].tolist(), strict=True):
        cv2.polylines(img, [np.rint(quad).astype(np.int32)], True, class_colour(label), 1, cv2.LINE_AA)
    return img


def near_duplicate_caption(stats: DatasetStats, group: NearDuplicates) -> str:
    """Return the names of the images, whether they are one file, how they are turned, and how their labels differ."""
    parts = [shorten([Path(stats.path(*member)).name for member in group.members], MAX_SHOWN_DUPLICATES)]
    parts += ['the same file'] * group.identical + [group.turned] * bool(group.turned)
    if group.first_difference is not None:
        parts.append(f'labels differ ({difference_text(stats, group)})')
    return '; '.join(parts)


def difference_text(stats: DatasetStats, group: NearDuplicates) -> str:
    """Return the first image whose labels differ from the first one's, and how; '' if all agree."""
    index = group.first_difference
    if index is None:
        return ''
    split, image = group.members[index]
    return f'{Path(stats.path(split, image)).name} of {stats.tables[split].name}: {group.differences[index]}'
