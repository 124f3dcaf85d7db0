"""Writing COCO's json of instances."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from detkit.datasets.writers.conversion_source import Header, Source, SourceImage, SourceSplit, Tally
from detkit.datasets.writers.new_folder import PlacedImages
from detkit.datasets.writers.object_geometry import (
    rings_by_object,
    to_polygons,
    with_bitmaps,
)
from detkit.structures.annotations import Annotations
from detkit.structures.keypoints import default_sigmas
from detkit.utils.numbers import fewest_digits, shortest_float32
from detkit.utils.progress import track

__all__ = ['write_coco']


def write_coco(source: Source, folder: Path, images: str, tally: Tally) -> list[str]:
    """Write ``annotations/instances_<split>.json``, and the images into ``<split>/``.

    Categories keep their ids, else they count from 1. Images keep an id of the source's, else they count from 1;
    annotations count from 1. A rotated box is an outline of four corners, ``bbox`` the upright box around the part of
    it inside the image. ``iscrowd`` is 1 of every object that is not to be learnt, difficult ones included. Numbers
    have as many decimals as the same float32 value needs.

    Args:
        source: what to write.
        folder: where to.
        images: 'link' or 'copy', see ``new_folder.PlacedImages``; 'leave' to leave them where they are: ``file_name``
            is then relative to the folder that all of them lie in.
        tally: counts what cannot be kept.

    Returns:
        a line a split for the user: how to read it.
    """
    (folder / 'annotations').mkdir()
    numbers, lines = count(1), []
    for split in source.splits:
        placed = _Placed(split, folder, images, tally)
        ids = _image_ids(split, numbers, tally)
        name = f'annotations/instances_{split.name}.json'
        with open(folder / name, 'w', encoding='utf-8') as file:
            _write_json(file, source.header, split, placed, ids, tally)
        lines.append(f'{split.name}: ann_file={name} img_prefix={placed.prefix}')
    if source.header.sigmas not in ((), default_sigmas(len(source.header.keypoint_names))):
        tally.add('the sigmas of keypoints', str(folder))
    return lines


class _Placed:
    """Where the images of a split are: in the new folder, or where they were."""

    def __init__(self, split: SourceSplit, folder: Path, images: str, tally: Tally) -> None:
        if images == 'leave':
            parents = {os.path.dirname(os.path.abspath(path)) for path in split.paths()}
            self.prefix = os.path.commonpath(parents)
            self._folder = None
        else:
            self.prefix = split.name
            self._folder = PlacedImages(folder / split.name, images, tally)

    def name(self, path: str) -> str | None:
        if self._folder is None:
            return Path(os.path.relpath(os.path.abspath(path), self.prefix)).as_posix()
        return self._folder.put(path)


def _image_ids(split: SourceSplit, numbers: Iterator[int], tally: Tally) -> Iterator[int | str]:
    """Yield the id of each image of a split: the source's own if every image has one and no two the same."""
    own = [(image.own_id, image.record.img_id, image.record.img_path) for image in split]
    ids = [img_id for is_own, img_id, _ in own if is_own]
    if len(set(ids)) == len(own):
        yield from ids
        return
    if ids:
        reason = 'an image id, as the parts of the source share some or have none: numbered anew'
        tally.add(reason, own[0][2], count=len(ids))
    for _ in own:
        yield next(numbers)


def _write_json(
    file: Any, header: Header, split: SourceSplit, placed: _Placed, ids: Iterator[int | str], tally: Tally
) -> None:
    """Write the json image by image, as the objects of a large set would fill the memory."""
    images, with_keypoints, number = [], set(), 0
    file.write('{"info": {}, "licenses": [],\n"annotations": [')
    for image, image_id in zip(track(split, f'write {split.name}'), ids, strict=True):
        shape = image.read_shape(tally)
        name = None if shape is None else placed.name(image.record.img_path)
        if name is None:
            continue
        images.append({'id': image_id, 'file_name': name, 'height': shape[0], 'width': shape[1]})
        for entry in _annotations(image, shape, image_id, header, tally):
            number += 1
            if entry.get('num_keypoints'):
                with_keypoints.add(entry['category_id'])
            file.write(f'{"," if number > 1 else ""}\n{json.dumps({"id": number, **entry})}')
    file.write('\n],\n"images": [' + ','.join(f'\n{json.dumps(entry)}' for entry in images))
    categories = ','.join(f'\n{json.dumps(entry)}' for entry in _categories(header, with_keypoints))
    file.write(f'\n],\n"categories": [{categories}\n]}}\n')


def _category_ids(header: Header) -> tuple[int | str, ...]:
    return header.category_ids or tuple(range(1, len(header.classes) + 1))


def _categories(header: Header, with_keypoints: set[int | str]) -> list[dict]:
    """Return the categories; those of objects with keypoints (all, where there are none) name the keypoints."""
    categories = []
    for number, name in zip(_category_ids(header), header.classes, strict=True):
        entry: dict[str, Any] = {'id': number, 'name': name, 'supercategory': ''}
        if header.keypoint_names and (number in with_keypoints or not with_keypoints):
            entry['keypoints'] = list(header.keypoint_names)
            entry['skeleton'] = [[i + 1, j + 1] for i, j in header.skeleton]
        categories.append(entry)
    return categories


def _annotations(
    image: SourceImage, shape: tuple[int, int], image_id: int | str, header: Header, tally: Tally
) -> Iterator[dict]:
    """Yield COCO's entry of each object of an image, without its id."""
    own = with_bitmaps(image.record, shape, tally)
    category_ids = _category_ids(header)
    bboxes = _xywh(own.bboxes).tolist()
    areas = shortest_float32(own.areas).tolist()
    segmentations = _segmentations(own)
    keypoints = None if own.keypoints is None else shortest_float32(own.keypoints)
    for i, label in enumerate(own.labels.tolist()):
        entry = {
            'image_id': image_id,
            'category_id': category_ids[label],
            'bbox': bboxes[i],
            'area': areas[i],
            'iscrowd': int(own.ignored[i]),
            'segmentation': segmentations[i],
        }
        if keypoints is not None:
            entry['keypoints'] = [_plain(value) for value in keypoints[i].ravel().tolist()]
            entry['num_keypoints'] = int((keypoints[i, :, 2] > 0).sum())
        yield entry


def _plain(value: float) -> int | float:
    return int(value) if value == int(value) else value


def _xywh(bboxes: np.ndarray) -> np.ndarray:
    """Return float32 ``(N, 4)`` xyxy as x, y, w, h whose sums x + w, y + h are the same float32 values."""
    low = shortest_float32(bboxes[:, :2])
    sizes = fewest_digits(
        bboxes[:, 2:].astype(np.float64) - low, lambda rounded: (low + rounded).astype(np.float32) == bboxes[:, 2:]
    )
    return np.concatenate([low, sizes], 1)


def _segmentations(annotations: Annotations) -> list[list[list[float]] | dict]:
    """Return flat rings or an RLE an object; an empty list of one that is known by its box alone."""
    outlines = to_polygons(rings_by_object(annotations))
    outlines = replace(outlines, points=shortest_float32(outlines.points.astype(np.float32)))
    written: list[list[list[float]] | dict] = [[] for _ in range(len(annotations))]
    for owner, ring in zip(outlines.ring_owners.tolist(), outlines.rings(), strict=True):
        written[owner].append(ring.ravel().tolist())
    for i, rle in enumerate(annotations.rles or ()):
        if rle is not None:
            written[i] = {'size': list(rle['size']), 'counts': rle['counts'].decode()}
    return written
