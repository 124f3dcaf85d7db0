"""Datasets in Label Studio's json export: a list of tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from detkit.datasets.formats.shape_dataset import ListedImage, Listing, ShapeDataset
from detkit.datasets.formats.shapes import (
    EntryError,
    Shape,
    check_canvas,
    crop_to_rle,
    ellipse_ring,
    number,
    points_of,
    turn,
)
from detkit.datasets.image_files import IMAGE_SUFFIXES
from detkit.datasets.path_finder import PathFinder
from detkit.datasets.skips import Skip
from detkit.registry import DATASETS
from detkit.utils.errors import DataError, shorten
from detkit.utils.json_files import read_json

__all__ = ['LabelStudioDataset', 'decode_brush']

# The prefix that Label Studio gives to the name of an uploaded file.
_PREFIX = re.compile(r'^[0-9a-f]{8}-')
_PERCENT = 100.0
# Kinds of results: the regions that are objects, and what is read beside them.
_REGIONS = ('rectangle', 'polygon', 'brush', 'ellipse')
_READ = (*_REGIONS, 'keypoint', 'labels')


@DATASETS.register_module()
class LabelStudioDataset(ShapeDataset):
    """Images with a Label Studio export of the kind JSON (https://labelstud.io/guide/export).

    Rectangles, turned ones included, polygons, ellipses and brushes are read. The classes are those of all objects, in
    alphabetical order; a region of several labels is an object of each. Of several annotations of a task the first one
    that is not cancelled is taken. An image is the file that the task names, or the uploaded file, with or without the
    eight hexadecimal digits before its name.

    Args:
        ann_file: the json, relative to ``data_root``.
        images: the folder of the images, relative to ``data_root``.
        image_key: the key of a task's data that names the image; None: the only one that does.
        keypoints: read keypoints that are drawn as parts of a region (``parentID``).
        rotated: objects are rotated boxes, the rectangle of least area around each outline or bitmap.
        check_size: leave out images that have another size than the export states.
        **kwargs: see ``DetDataset``.
    """

    def __init__(self, ann_file: str, image_key: str | None = None, **kwargs: Any) -> None:
        self.ann_file = ann_file
        self.image_key = image_key
        super().__init__(**kwargs)

    @classmethod
    def read_header(cls, cfg: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
        return _names_of(_read_tasks(str(Path(cfg.get('data_root') or '') / str(cfg.get('ann_file')))))

    @property
    def source(self) -> str:
        return str(Path(self.data_root) / self.ann_file)

    def read_files(self) -> Listing:
        tasks = _read_tasks(self.source)
        finder, found = PathFinder(self.image_folder), []
        for place, task in enumerate(tasks, 1):
            where = f'task {task.get("id", place) if isinstance(task, dict) else place}'
            if not isinstance(task, dict):
                self.skipped.append(Skip(self.source, where, 'a task that is no mapping'))
                continue
            results, others = _results_of(task)
            if others:
                reason = 'a further or cancelled annotation of a task'
                self.unused.append(Skip(self.source, where, reason, count=others))
            if results is None:
                reason = 'a task without an annotation that is not cancelled'
                if task.get('predictions') and not others:
                    reason = 'a task with predictions alone, which are not read: accept them as annotations first'
                self.unused.append(Skip(self.source, where, reason))
                continue
            path = self.find_image(finder, self._names(task, where), self.source, where)
            if path is not None:
                found.append(ListedImage(path, self.source, results, _stated_size(results), where))
        return Listing(found, *_names_of(tasks))

    def _names(self, task: dict, where: str) -> list[str]:
        """Return the names that a task's image may have, the likeliest first."""
        data = task.get('data')
        data = data if isinstance(data, dict) else {}
        if self.image_key is not None and self.image_key not in data:
            raise DataError(
                f'{where} of {self.source!r} has no data {self.image_key!r}, but {shorten(map(repr, data)) or "none"}; '
                'set image_key to the one that names the image'
            )
        keys = [self.image_key] if self.image_key is not None else [key for key in data if _is_image(data[key])]
        if len(keys) > 1:
            raise DataError(
                f'{where} of {self.source!r} names several images ({shorten(map(repr, keys))}); set image_key to one'
            )
        urls = [data[key] for key in keys] + [task.get('file_upload')]
        return list(dict.fromkeys(name for url in urls if isinstance(url, str) for name in _file_names(url)))

    def read_shapes(self, image: ListedImage, shape: tuple[int, int]) -> list[Shape]:
        shapes: list[Shape] = []
        parents: dict[str, dict[int, list[Shape]]] = {}  # of an id, the objects of each drawing
        keypoints = []
        for region in _regions_of(image.entry):
            where = f'region {region["id"]}'
            with self.leaving_out(image, where):
                if region['kind'] == 'keypoint':
                    keypoints.append((where, region, _read_point(region, shape)))
                else:
                    drawn = _read_region(region, where, shape)
                    shapes.append(drawn)
                    parents.setdefault(region['id'], {}).setdefault(region['place'], []).append(drawn)
        for where, region, point in keypoints:
            with self.leaving_out(image, where):
                drawings = list(parents.get(str(region['entry'].get('parentID')), {}).values())
                if not drawings:
                    raise EntryError('a keypoint that is no part of a region', broken=False)
                if not self.keypoints:
                    raise EntryError('a keypoint (keypoints=True reads it)', broken=False)
                if len(drawings) > 1:
                    raise EntryError('a keypoint of several regions of one id')
                name = _label_of(region)
                if name in drawings[0][0].keypoints:
                    raise EntryError(f'the keypoint {name!r} of a region twice', 'a keypoint twice')
                for parent in drawings[0]:
                    parent.keypoints[name] = point
        return shapes


def _read_tasks(path: str) -> list[Any]:
    tasks = read_json(path)
    if isinstance(tasks, dict) and ('annotations' in tasks or 'completions' in tasks):
        tasks = [tasks]  # a single task
    good = [task for task in tasks if isinstance(task, dict)] if isinstance(tasks, list) else []
    if not any('annotations' in task or 'completions' in task for task in good):
        raise DataError(
            f"the annotation file {path!r} is no list of Label Studio's tasks, each with 'annotations'. Export the "
            'project as JSON (not JSON-MIN).'
        )
    return tasks


def _results_of(task: Mapping[str, Any]) -> tuple[list[Any] | None, int]:
    """Return the results of the first annotation that is not cancelled, and the number of the others."""
    annotations = task.get('annotations', task.get('completions'))
    annotations = [own for own in annotations if isinstance(own, dict)] if isinstance(annotations, list) else []
    valid = [own for own in annotations if not (own.get('was_cancelled') or own.get('skipped'))]
    if not valid:
        return None, len(annotations)
    results = valid[0].get('result')
    return results if isinstance(results, list) else [], len(annotations) - 1


def _regions_of(results: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Yield each region once for each of its labels, with its kind, id, place among the results, label and entry.

    Results of one id are one region where they draw the same, and labels may be a result of their own. Other results of
    that id are regions of their own, as programs write them that set no ids.
    """
    regions = [_region_of(entry, place) for place, entry in enumerate(results, 1)]
    groups: dict[str | int, list[dict[str, Any]]] = {}  # by id, what is not read by place
    for region in regions:
        groups.setdefault(region['id'] if region['kind'] in _READ else region['place'], []).append(region)
    for group in groups.values():
        for region in _joined(group) if len(group) > 1 else group:
            labels = list({repr(label): label for label in region['labels']}.values())
            for label in labels or [None]:
                yield {**region, 'label': label}


def _region_of(entry: Any, place: int) -> dict[str, Any]:
    kind, value = (entry.get('type'), entry.get('value')) if isinstance(entry, dict) else (None, None)
    kind = (kind.removesuffix('labels') or 'labels') if isinstance(kind, str) else 'broken'
    if kind in _READ and not isinstance(value, dict):
        kind = 'broken'
    labels = value.get('labels' if kind == 'labels' else f'{kind}labels') if kind in _READ else None
    labels = labels if isinstance(labels, list) else []
    own_id = str((entry.get('id') if kind != 'broken' else None) or place)
    return dict(id=own_id, place=place, kind=kind, labels=labels, entry=entry)


def _joined(group: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the regions that results of one id are, with the labels of those that draw the same."""
    drawn: dict[str, dict[str, Any]] = {}
    for region in group:
        if region['kind'] != 'labels':
            first = drawn.setdefault(_drawing(region), region)
            if first is not region:
                first['labels'] = first['labels'] + region['labels']
    only = next(iter(drawn.values())) if len(drawn) == 1 else None
    unplaced = []
    for region in group:
        if region['kind'] == 'labels':
            target = drawn.get(_drawing(region), only)
            if target is None:
                unplaced.append(region)
            else:
                target['labels'] = target['labels'] + region['labels']
    return [*drawn.values(), *unplaced]


def _drawing(region: Mapping[str, Any]) -> str:
    """Return what tells the drawings of one id apart: the value without the labels."""
    return repr(sorted((key, part) for key, part in region['entry']['value'].items() if not key.endswith('labels')))


def _label_of(region: Mapping[str, Any]) -> str:
    name = region['label'].strip() if isinstance(region['label'], str) else ''
    if not name:
        raise EntryError('a region without a label')
    return name


def _names_of(tasks: Sequence[Any]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the labels of the regions that are objects, and of the keypoints, both sorted."""
    found: dict[bool, set[str]] = {False: set(), True: set()}
    for task in tasks:
        for region in _regions_of(_results_of(task)[0] or ()) if isinstance(task, dict) else ():
            if region['kind'] in (*_REGIONS, 'keypoint'):
                try:
                    found[region['kind'] == 'keypoint'].add(_label_of(region))
                except EntryError:
                    continue  # listed as skipped when the region is read
    return sorted(found[False]), sorted(found[True])


def _stated_size(results: Sequence[Any]) -> tuple[int, int] | None:
    for entry in results:
        if isinstance(entry, dict):
            size = entry.get('original_height'), entry.get('original_width')
            if all(type(side) is int and side > 0 for side in size):
                return size
    return None


def _is_image(value: Any) -> bool:
    return isinstance(value, str) and any(name.lower().endswith(IMAGE_SUFFIXES) for name in _file_names(value))


def _file_names(url: str) -> list[str]:
    """Return the names that the file of a task may have: below a storage, as uploaded, and as it was called before."""
    if url.startswith('data:'):
        return []
    try:
        parts = urlsplit(url)
        local = parse_qs(parts.query).get('d', ()) if parts.path.rstrip('/').endswith('local-files') else ()
    except ValueError:
        return [url]
    name = local[0] if local else unquote(parts.path) if parts.scheme or url.startswith('/data/') else url
    name = re.sub(r'^/?data/upload/(\d+/)?', '', name.lstrip('/')) if not local else name
    folder, slash, base = name.rpartition('/')
    return [name, folder + slash + _PREFIX.sub('', base)] if name else []


def _read_region(region: Mapping[str, Any], where: str, size: tuple[int, int]) -> Shape:
    kind, entry = region['kind'], region['entry']
    if kind == 'broken':
        raise EntryError('a result that is no mapping with a value')
    if kind not in _REGIONS:
        raise EntryError(f'a result of the type {kind[:40]!r}, which is no object', broken=False)
    drawn, value = Shape(_label_of(region), where), entry['value']
    if entry.get('image_rotation') not in (None, 0):
        raise EntryError('a region on an image that was turned in the editor', broken=False)
    scale = np.array(size[::-1]) / _PERCENT
    if kind == 'brush':
        drawn.rle = crop_to_rle(_read_brush(value, entry, size), 0, 0, size)
        return drawn
    if kind == 'polygon':
        drawn.rings = [points_of(value.get('points')) * scale]
        return drawn
    degrees = number(value.get('rotation') or 0)
    x, y = _pair(value, 'x', 'y') * scale
    if kind == 'ellipse':
        drawn.rings = [ellipse_ring(x, y, *(_pair(value, 'radiusX', 'radiusY') * scale), degrees)]
        return drawn
    w, h = _pair(value, 'width', 'height') * scale
    if degrees % 360:  # clockwise around the corner that x and y give
        corners = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])
        drawn.rings = [turn(corners, (x, y), degrees)]
    else:
        drawn.bbox = (x, y, x + w, y + h)
    return drawn


def _pair(value: Mapping[str, Any], first: str, second: str) -> np.ndarray:
    return np.array([number(value.get(first)), number(value.get(second))])


def _read_point(region: Mapping[str, Any], size: tuple[int, int]) -> tuple[float, float, float]:
    _label_of(region)
    x, y = _pair(region['entry']['value'], 'x', 'y') * np.array(size[::-1]) / _PERCENT
    return float(x), float(y), 2.0


def _read_brush(value: Mapping[str, Any], entry: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    stated, data = _stated_size([entry]), value.get('rle')
    if stated != size:
        raise EntryError(f'a brush of the size {stated}, not {size} (h, w)', 'a brush of another size than the image')
    check_canvas(size)
    try:
        return decode_brush(bytes(data) if isinstance(data, list) else b'', size)
    except (ValueError, TypeError) as error:
        raise EntryError('a brush whose rle is no list of bytes') from error


def decode_brush(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Return the bitmap ``(h, w)`` bool of a brush: the pixels of an RGBA picture that are not transparent.

    The bytes are those of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack, read bit by bit: the
    number of words (32 bits), the bits of a word less one (5), four widths of counts less one (4 each); then runs: 1
    for a repeated word or 0 for different ones (1), which width (2), the count less one, and the words.

    Args:
        data: the bytes.
        size: (h, w) of the image.

    Raises:
        EntryError: the bytes are no bitmap of that size.
    """
    bits, expected = np.unpackbits(np.frombuffer(data, np.uint8)), size[0] * size[1] * 4

    def take(start: int, width: int) -> int:
        chunk = bits[start : start + width]
        if len(chunk) < width:
            raise EntryError('a brush whose rle ends too early')
        return int(chunk @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64)))

    count, word = take(0, 32), take(32, 5) + 1
    widths = [take(37 + 4 * i, 4) + 1 for i in range(4)]
    if count != expected or word != 8:
        reason = f'a brush of {count} words of {word} bits, where {size[1]}x{size[0]} pixels have {expected} of 8'
        raise EntryError(reason, 'a brush of another size than the image')
    words = np.zeros(count, np.uint8)
    start, position = 0, 53
    while start < count:
        repeated, width = take(position, 1), widths[take(position + 1, 2)]
        length = take(position + 3, width) + 1
        position += 3 + width
        if length > count - start:
            raise EntryError('a brush whose rle has more words than the image')
        if repeated:
            words[start : start + length] = take(position, word)
            position += word
        else:
            chunk = bits[position : position + word * length]
            if len(chunk) < word * length:
                raise EntryError('a brush whose rle ends too early')
            words[start : start + length] = np.packbits(chunk)
            position += word * length
        start += length
    return words.reshape(*size, 4)[..., 3] > 0
