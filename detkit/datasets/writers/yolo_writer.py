"""Writing YOLO's label files and a data yaml."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from detkit.datasets.writers.conversion_source import Header, Source, SourceImage, Tally
from detkit.datasets.writers.new_folder import PlacedImages
from detkit.datasets.writers.object_geometry import (
    count_areas,
    count_unheld,
    join_rings,
    object_corners,
    object_outlines,
    to_polygons,
    with_bitmaps,
)
from detkit.structures.annotations import Annotations
from detkit.structures.bboxes import bbox_areas, clip_bboxes, cxcywh_to_xyxy, xyxy_to_cxcywh
from detkit.structures.keypoints import default_sigmas, default_skeleton, flip_indices
from detkit.utils.errors import DataError
from detkit.utils.numbers import fewest_digits
from detkit.utils.progress import track

__all__ = ['YOLO_LABELS', 'write_yolo']

YOLO_LABELS = ('box', 'outline', 'pose', 'obb')

# Sides of a box that differ by as many pixels or more are another box's.
_SAME_SIDE = 0.5


def write_yolo(source: Source, folder: Path, images: str, tally: Tally, labels: str | None = None) -> list[str]:
    """Write ``images/<split>``, ``labels/<split>`` and ``data.yaml``.

    Objects that are not to be learnt (crowds, difficult ones) are left out, as the format has no flag for them. Boxes
    and outlines are cut at the image's border. Numbers have as many decimals as the same float32 pixels need.

    Args:
        source: what to write.
        folder: where to.
        images: 'link' or 'copy', see ``new_folder.PlacedImages``.
        tally: counts what cannot be kept.
        labels: the content of a line, one of ``YOLO_LABELS``: 'box'; 'outline', where several rings become one,
            joined by bridges of no width; 'pose', a box and keypoints; 'obb', four corners. None: what the objects
            have, corners before keypoints before outlines.

    Returns:
        a line for the user: how to read it.
    """
    labels = labels or _find_labels(source)
    if labels == 'pose' and not source.header.keypoint_names:
        raise DataError(
            "labels='pose': the source has no keypoints; read it with keypoints=True where its reader has it"
        )
    for split in source.splits:
        placed = PlacedImages(folder / 'images' / split.name, images, tally)
        label_folder = folder / 'labels' / split.name
        label_folder.mkdir(parents=True)
        for image in track(split, f'write {split.name}'):
            shape = image.read_shape(tally)
            name = None if shape is None else placed.put(image.record.img_path)
            if name is None:
                continue
            stem = os.path.splitext(name)[0]
            lines = _label_lines(image, shape, labels, source.header, tally)
            (label_folder / f'{stem}.txt').write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
            if image.own_id and str(image.record.img_id) != stem:
                tally.add('an image id: images are known by their file names', image.record.img_path)
    with open(folder / 'data.yaml', 'w', encoding='utf-8') as file:
        content = _data_yaml(source, labels)
        yaml.safe_dump(content, file, allow_unicode=True, sort_keys=False, default_flow_style=None, width=120)
    _count_header(source.header, labels, tally)
    kind = 'outline' if labels == 'box' else labels
    return [f'{", ".join(split.name for split in source.splits)}: data_yaml=data.yaml labels={kind}']


def _find_labels(source: Source) -> str:
    found = set()
    for split in source.splits:
        for image in split:
            own = image.record.annotations
            if own.rbboxes is not None:
                return 'obb'
            if own.keypoints is not None:
                found.add('pose')
            elif own.polygons is not None or own.rles is not None or image.record.segments is not None:
                found.add('outline')
    return next((labels for labels in ('pose', 'outline') if labels in found), 'box')


def _count_header(header: Header, labels: str, tally: Tally) -> None:
    if header.category_ids not in (None, tuple(range(len(header.classes)))):
        tally.add('a category id: classes are numbered from 0', 'data.yaml', count=len(header.classes))
    if labels != 'pose':
        return
    num_keypoints = len(header.keypoint_names)
    if header.skeleton not in ((), default_skeleton(num_keypoints)):
        tally.add('the skeleton of keypoints', 'data.yaml')
    if header.sigmas not in ((), default_sigmas(num_keypoints)):
        tally.add('the sigmas of keypoints', 'data.yaml')


def _data_yaml(source: Source, labels: str) -> dict[str, Any]:
    header = source.header
    content: dict[str, Any] = {split.name: f'images/{split.name}' for split in source.splits}
    content['names'] = dict(enumerate(header.classes))
    if labels == 'pose':
        num_keypoints = len(header.keypoint_names)
        content['kpt_shape'] = [num_keypoints, 3]
        if header.flip_pairs is not None:
            content['flip_idx'] = flip_indices(header.flip_pairs, num_keypoints)
        content['kpt_names'] = {label: list(header.keypoint_names) for label in range(len(header.classes))}
    return content


def _label_lines(
    image: SourceImage, shape: tuple[int, int], labels: str, header: Header, tally: Tally
) -> Sequence[str]:
    """Return the lines of an image's label file, without those that repeat another."""
    path = image.record.img_path
    own = with_bitmaps(image.record, shape, tally)
    tally.add_objects('an object that is not to be learnt (crowd, difficult): there is no flag', path, own.ignored)
    own = own.select(~own.ignored)
    if labels == 'pose' and own.keypoints is None:  # another part of the source has them
        own = replace(own, keypoints=np.zeros((len(own), len(header.keypoint_names), 3), np.float32))
    count_unheld(own, path, tally, outlines=labels in ('box', 'pose'), keypoints=labels != 'pose')
    classes, values = label_values(own, shape, labels, path, tally)
    lines = [' '.join(map(_text, [label, *row.tolist()])) for label, row in zip(classes.tolist(), values, strict=True)]
    unique = list(dict.fromkeys(lines))
    if len(unique) < len(lines):
        tally.add("an object whose line is the same as another one's", path, count=len(lines) - len(unique))
    return unique


def label_values(
    annotations: Annotations, shape: tuple[int, int], labels: str, path: str, tally: Tally
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the labels ``(N,)`` of an image's objects, and the numbers that follow each in its line.

    Args:
        annotations: the objects; those without an area inside the image are left out.
        shape: (h, w) of the image.
        labels: one of ``YOLO_LABELS``.
        path: the image, for the tally.
        tally: counts what cannot be kept.
    """
    scale_wh = np.array(shape[::-1], np.float64)
    if labels == 'obb':
        return annotations.labels, list((object_corners(annotations, path, tally) / scale_wh).reshape(-1, 8).round(10))
    make = {'box': _boxes, 'pose': _poses, 'outline': _outlines}[labels]
    inside = _inside(annotations, scale_wh, path, tally)
    return inside.labels, make(inside, scale_wh, path, tally)


def _text(value: float) -> str:
    return repr(value).removesuffix('.0')


def _inside(annotations: Annotations, scale_wh: np.ndarray, path: str, tally: Tally) -> Annotations:
    """Return the objects with their boxes cut at the image's border, without those that have no area inside."""
    bboxes = clip_bboxes(annotations.bboxes, (0, 0, *scale_wh)).astype(np.float32)
    outside = (bboxes != annotations.bboxes).any(1)
    empty = (bboxes[:, 2:] <= bboxes[:, :2]).any(1)
    tally.add_objects('an object without an area inside the image', path, empty)
    tally.add_objects('the part of a box beyond the image', path, outside & ~empty)
    return replace(annotations, bboxes=bboxes).select(~empty)


def _boxes(annotations: Annotations, scale_wh: np.ndarray, path: str, tally: Tally) -> list[np.ndarray]:
    """Return cx, cy, w, h a box, divided by the image's size."""
    bboxes = annotations.bboxes
    count_areas(annotations, bbox_areas(bboxes), path, tally)
    return list(_normalise(bboxes, scale_wh))


def _normalise(bboxes: np.ndarray, scale_wh: np.ndarray) -> np.ndarray:
    """Return float32 xyxy ``(N, 4)`` in pixels as cx, cy, w, h divided by the image's size."""

    def same(rounded: np.ndarray) -> np.ndarray:
        read = cxcywh_to_xyxy(rounded).clip(0, 1) * np.tile(scale_wh, 2)
        return (read.astype(np.float32) == bboxes).all(1, keepdims=True)

    return fewest_digits(xyxy_to_cxcywh(bboxes.astype(np.float64) / np.tile(scale_wh, 2)), same)


def _normalise_points(points: np.ndarray, scale_wh: np.ndarray) -> np.ndarray:
    """Return float32 ``(..., 2)`` in pixels, divided by the image's size."""
    return fewest_digits(
        points.astype(np.float64) / scale_wh, lambda rounded: (rounded * scale_wh).astype(np.float32) == points
    )


def _poses(annotations: Annotations, scale_wh: np.ndarray, path: str, tally: Tally) -> list[np.ndarray]:
    """Return cx, cy, w, h and x, y, visibility a keypoint."""
    bboxes = _boxes(annotations, scale_wh, path, tally)
    points, visibility = annotations.keypoints[..., :2], annotations.keypoints[..., 2:]
    labelled = visibility > 0
    outside = ((points < 0) | (points > scale_wh)).any(2, keepdims=True) & labelled
    tally.add_objects('a keypoint outside the image: it counts as not labelled', path, outside.any((1, 2)))
    labelled &= ~outside
    values = np.concatenate([_normalise_points(points, scale_wh), visibility], 2) * labelled
    return [np.concatenate([bbox, own.ravel()]) for bbox, own in zip(bboxes, values, strict=True)]


def _outlines(annotations: Annotations, scale_wh: np.ndarray, path: str, tally: Tally) -> list[np.ndarray]:
    """Return x, y a point of the outline; cx, cy, w, h of an object that has none."""
    count = len(annotations)
    outlines = to_polygons(object_outlines(annotations, path, tally))
    cut = outlines.clip((0, 0, *scale_wh.tolist()))
    rings: list[list[np.ndarray]] = [[] for _ in range(count)]
    for owner, ring in zip(cut.ring_owners, cut.rings(), strict=True):
        if len(ring) >= 3:
            rings[owner].append(ring.astype(np.float32))
    outside = np.zeros(count, bool)
    beyond = ((outlines.points < 0) | (outlines.points > scale_wh)).any(1)
    outside[np.repeat(outlines.ring_owners, outlines.ring_sizes)[beyond]] = True
    tally.add_objects('the part of an outline beyond the image', path, outside)
    several = np.array([len(own) > 1 for own in rings], bool)
    tally.add_objects('the number of rings of an object: bridges of no width join them to one', path, several)

    joined = to_polygons([[join_rings(own)] if own else [] for own in rings])
    hulls, areas = joined.bboxes(count), joined.areas(count)
    outlined = (hulls[:, 2:] > hulls[:, :2]).all(1)  # a reader derives the box from the outline: it needs an area
    other = outlined & (np.abs(hulls - annotations.bboxes).max(1, initial=0) >= _SAME_SIDE)
    tally.add_objects('a box that is not the one around the outline', path, other)
    if outlined.any():
        reason = 'an object without an outline, written as a box: some trainers then drop the outlines of all'
        tally.add_objects(reason, path, ~outlined)
    count_areas(annotations, np.where(outlined, areas, bbox_areas(annotations.bboxes)), path, tally)

    values = list(_normalise(annotations.bboxes, scale_wh))
    points = replace(joined, points=_normalise_points(joined.points, scale_wh))
    for owner, ring in zip(points.ring_owners, points.rings(), strict=True):
        if outlined[owner]:
            values[owner] = ring.ravel()
    return values
