"""Reading COCO's ``instances_*.json`` into flat arrays."""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from detkit.datasets.flat_annotations import FlatAnnotations
from detkit.datasets.skips import Skip
from detkit.utils.errors import DataError


@dataclass
class CocoImages:
    """The usable images of a file, and the reasons why others are not.

    Attributes:
        ids, names: COCO's id and ``file_name`` of each image.
        shapes: (h, w) of each as the file states it, None where it does not.
        skipped: entries that were dropped.
    """

    ids: list[int | str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    shapes: list[tuple[int, int] | None] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)


def load_json(ann_file: str) -> dict[str, list[dict]]:
    """Return the contents of an annotation file.

    Raises:
        DataError: it is missing, no JSON, or not in COCO's form.
    """
    if not os.path.isfile(ann_file):
        raise DataError(
            f'the annotation file {ann_file!r} does not exist. Set ann_file (relative to data_root) to a COCO json.'
        )
    try:
        with open(ann_file, encoding='utf-8') as file:
            content = json.load(file)
    except ValueError as error:
        raise DataError(f'the annotation file {ann_file!r} is no valid JSON: {error}') from error
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(
                f'the annotation file {ann_file!r} has no list {key!r}. A COCO json of instances has the lists images, '
                'annotations and categories.'
            )
        if not all(isinstance(entry, dict) for entry in content[key]):
            raise DataError(f'the list {key!r} of the annotation file {ann_file!r} holds something that is no mapping')
    return content


def read_categories(ann_file: str) -> list[dict]:
    """Return the categories of an annotation file, by ascending id, without parsing the rest of it.

    Raises:
        DataError: as ``load_json``, or a category has no id or no name.
    """
    if not os.path.isfile(ann_file):
        return load_json(ann_file)['categories']  # names what is missing
    status = os.stat(ann_file)
    return list(_cached_categories(ann_file, status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=16)
def _cached_categories(ann_file: str, mtime_ns: int, size: int) -> tuple[dict, ...]:
    categories = _find_categories(ann_file) if size else None
    if categories is None:
        categories = load_json(ann_file)['categories']
    try:
        return tuple(sorted(({**entry, 'name': entry['name']} for entry in categories), key=lambda entry: entry['id']))
    except (KeyError, TypeError) as error:
        raise DataError(f'a category of the annotation file {ann_file!r} has no id or no name') from error


def _find_categories(ann_file: str) -> list[dict] | None:
    """Return the list behind the key "categories" in the file's text; None unless the key occurs exactly once."""
    with open(ann_file, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        places = [match.end() for match in re.finditer(rb'"categories"\s*:\s*(?=\[)', text)]
        if len(places) != 1:
            return None
        length = 1 << 16
        while True:
            try:
                found, _ = json.JSONDecoder().raw_decode(text[places[0] : places[0] + length].decode(errors='replace'))
            except ValueError:  # the list continues after this part
                if places[0] + length >= len(text):
                    return None
                length *= 8
                continue
            return found if all(isinstance(entry, dict) for entry in found) else None


def read_images(entries: Sequence[dict], ann_file: str) -> CocoImages:
    """Return the images that a file lists, in its order; repeated ids and entries without a name are dropped."""
    images, seen = CocoImages(), set()
    for entry in entries:
        if 'id' not in entry or not entry.get('file_name'):
            images.skipped.append(Skip(ann_file, f'image {entry.get("id")}', 'no id or no file_name'))
        elif entry['id'] in seen:
            images.skipped.append(Skip(ann_file, f'image {entry["id"]}', 'the id of an earlier image'))
        else:
            seen.add(entry['id'])
            height, width = entry.get('height'), entry.get('width')
            images.ids.append(entry['id'])
            images.names.append(entry['file_name'])
            images.shapes.append((int(height), int(width)) if height and width else None)
    return images


def read_annotations(
    entries: Sequence[dict],
    image_ids: Sequence[int | str],
    shapes: Sequence[tuple[int, int]],
    labels_by_category: dict[int, int | None],
    ann_file: str,
    unused_images: set[int | str],
    num_keypoints: int | None = None,
) -> tuple[FlatAnnotations, list[Skip], list[Skip]]:
    """Return the objects of a file, sorted by image; those that break a rule are dropped alone.

    Args:
        entries: COCO's annotations.
        image_ids, shapes: id and (h, w) of the images that objects may belong to.
        labels_by_category: the label of each of the file's category ids, None for classes that were not chosen.
        ann_file: the file's name, for the reports.
        unused_images: ids of images that were dropped and reported themselves: their objects go without a word.
        num_keypoints: K, to read that many keypoints of every object; None to read none.

    Returns:
        The objects, what was skipped, and the duplicates that were left out.
    """
    numbers = {image_id: number for number, image_id in enumerate(image_ids)}
    skipped: list[Skip] = []
    duplicates: list[Skip] = []

    def keep(test: Callable[[dict], bool], reason: str, report: bool = True) -> None:
        nonlocal entries
        good = [test(entry) for entry in entries]
        if all(good):
            return
        if report:
            bad = [entry for entry, ok in zip(entries, good, strict=True) if not ok]
            skipped.extend(
                Skip(ann_file, _name(entry), reason.format_map(_Known(entry)), re.sub(r' ?{\w+}', '', reason))
                for entry in bad
            )
        entries = [entry for entry, ok in zip(entries, good, strict=True) if ok]

    keep(lambda entry: entry.get('image_id') not in unused_images, '', report=False)
    keep(lambda entry: entry.get('image_id') in numbers, 'image_id {image_id} is not among the images')
    keep(lambda entry: entry.get('category_id') in labels_by_category, 'category_id {category_id} is not a category')
    keep(lambda entry: labels_by_category[entry['category_id']] is not None, '', report=False)
    keep(lambda entry: is_box(entry.get('bbox')), 'bbox {bbox} is not four finite numbers x, y, w, h')
    keep(lambda entry: entry['bbox'][2] > 0 and entry['bbox'][3] > 0, 'bbox {bbox} has no width or no height')
    keep(
        lambda entry: _touches(entry['bbox'], shapes[numbers[entry['image_id']]]),
        'bbox {bbox} lies outside the image',
    )
    keep(
        lambda entry: _is_segmentation(entry.get('segmentation'), shapes[numbers[entry['image_id']]]),
        'a segmentation that is neither rings of three points or more nor an RLE of the size of the image',
    )
    keep(lambda entry: entry.get('area') is None or _is_number(entry['area']), 'area {area} is no number')
    if num_keypoints is not None:
        keep(
            lambda entry: _keypoint_values(entry) in (0, 3 * num_keypoints),
            f'{{keypoint_values}} keypoint values, where {num_keypoints} keypoints have {3 * num_keypoints}',
        )
        keep(lambda entry: all(map(_is_number, entry.get('keypoints') or ())), 'keypoints that are no numbers')
    entries = _drop_repeats(entries, ann_file, duplicates)

    images = np.array([numbers[entry['image_id']] for entry in entries], np.int64)
    order = np.argsort(images, kind='stable')
    entries = [entries[i] for i in order]
    xywh = np.array([entry['bbox'] for entry in entries], np.float64).reshape(-1, 4)
    rings = [entry['segmentation'] if _has_rings(entry) else [] for entry in entries]
    ring_lengths = np.array([len(ring) for ring in chain.from_iterable(rings)], np.int64)
    coordinates = chain.from_iterable(chain.from_iterable(rings))
    flat = FlatAnnotations(
        images=images[order],
        labels=np.array([labels_by_category[entry['category_id']] for entry in entries], np.int64),
        bboxes=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1),
        ring_owners=np.repeat(np.arange(len(entries)), np.array([len(own) for own in rings], np.int64)),
        ring_sizes=ring_lengths // 2,
        points=np.fromiter(coordinates, np.float64, int(ring_lengths.sum())).reshape(-1, 2),
        ignored=np.array([bool(entry.get('iscrowd')) for entry in entries], bool),
        areas=np.array([_area(entry) for entry in entries], np.float64),
        rle_owners=np.array(
            [number for number, entry in enumerate(entries) if isinstance(entry.get('segmentation'), dict)], np.int64
        ),
        rle_counts=[
            _to_compressed(entry['segmentation'])['counts']
            for entry in entries
            if isinstance(entry.get('segmentation'), dict)
        ],
        keypoints=None if num_keypoints is None else _keypoints(entries, num_keypoints),
    )
    return flat, skipped, duplicates


class _Known(dict):
    """An entry for ``str.format`` in which an absent key reads as None; ``keypoint_values`` counts those."""

    def __missing__(self, key: str) -> int | None:
        return _keypoint_values(self) if key == 'keypoint_values' else None


def _name(entry: dict) -> str:
    return f'annotation {entry.get("id")} of image {entry.get("image_id")}'


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value - value == 0  # infinity and NaN fail this


def is_box(bbox: Any) -> bool:
    """Return whether ``bbox`` is a list of four numbers."""
    return isinstance(bbox, list) and len(bbox) == 4 and all(map(_is_number, bbox))


def _touches(bbox: Sequence[float], shape: tuple[int, int]) -> bool:
    x, y, w, h = bbox
    return x < shape[1] and y < shape[0] and x + w > 0 and y + h > 0


def _is_segmentation(segmentation: Any, shape: tuple[int, int]) -> bool:
    try:
        if isinstance(segmentation, dict):
            counts = segmentation['counts']
            right_size = list(segmentation['size']) == list(shape)
            return right_size and (isinstance(counts, str) or sum(counts) == shape[0] * shape[1])
        return all(len(ring) >= 6 and len(ring) % 2 == 0 and _is_number(sum(ring)) for ring in segmentation or ())
    except (KeyError, TypeError):
        return False


def _keypoint_values(entry: dict) -> int:
    values = entry.get('keypoints') or ()
    return len(values) if isinstance(values, list | tuple) else 1


def _keypoints(entries: Sequence[dict], num_keypoints: int) -> np.ndarray:
    """Return ``(N, K, 3)``; an object without keypoints (a crowd) has unlabelled ones."""
    none = [0] * (3 * num_keypoints)
    values = chain.from_iterable(entry.get('keypoints') or none for entry in entries)
    keypoints = np.fromiter(values, np.float64, len(entries) * len(none)).reshape(-1, num_keypoints, 3)
    return keypoints * (keypoints[..., 2:] > 0)


def _has_rings(entry: dict) -> bool:
    return isinstance(entry.get('segmentation'), list)


def _to_compressed(rle: dict) -> dict:
    """Return a COCO RLE whose counts are pycocotools' compressed bytes."""
    height, width = rle['size']
    if isinstance(rle['counts'], list):
        return mask_utils.frPyObjects(rle, height, width)
    return {'size': [height, width], 'counts': rle['counts'].encode()}


def _area(entry: dict) -> float:
    area = entry.get('area')
    if area is not None:
        return float(area)
    if isinstance(entry.get('segmentation'), dict):
        return float(mask_utils.area(_to_compressed(entry['segmentation'])))
    return np.nan


def _drop_repeats(entries: Sequence[dict], ann_file: str, duplicates: list[Skip]) -> list[dict]:
    """Leave out an object that has image, class, box and outline of an earlier one."""
    kept: list[dict] = []
    seen: dict[tuple, list[Any]] = {}
    for entry in entries:
        key = (entry['image_id'], entry['category_id'], *entry['bbox'], bool(entry.get('iscrowd')))
        earlier = seen.setdefault(key, [])
        segmentation = entry.get('segmentation')
        if segmentation in earlier:
            duplicates.append(Skip(ann_file, _name(entry), 'the same as an earlier annotation'))
        else:
            earlier.append(segmentation)
            kept.append(entry)
    return kept
