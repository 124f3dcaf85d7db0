"""FiftyOne's datasets: an exported folder, or a dataset of its database by name."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detkit.datasets.formats.shape_dataset import ListedImage, Listing, ShapeDataset
from detkit.datasets.formats.shapes import EntryError, Shape, crop_to_rle, number, points_of
from detkit.datasets.path_finder import PathFinder
from detkit.datasets.skips import Skip
from detkit.registry import DATASETS
from detkit.utils.errors import ConfigError, DataError, nearest, shorten
from detkit.utils.json_files import read_json

__all__ = ['FiftyOneDataset']

# The lists of labels that hold objects, and the key of each one's entries.
_LISTS = {'Detections': 'detections', 'Polylines': 'polylines', 'Keypoints': 'keypoints'}
_OBJECTS = ('Detection', 'Polyline', 'Keypoint')


@DATASETS.register_module()
class FiftyOneDataset(ShapeDataset):
    """Images of a FiftyOne dataset (https://docs.voxel51.com): a folder exported as ``FiftyOneDataset``, or by name.

    Detections are read with their masks, polylines that are closed or filled as outlines, and keypoints as objects
    whose box is the one around them. Detections with ``iscrowd`` are ``ignored``. The classes are those of all samples,
    in alphabetical order. A folder is read without the package ``fiftyone``.

    Args:
        name: the name of a dataset in FiftyOne's database; None: ``data_root`` is an exported folder.
        label_field: the field that holds the objects.
        tag: take the samples with this tag alone, such as 'train'; None: all.
        keypoints: read keypoints; their names are those of the dataset's skeleton, else their numbers.
        rotated: objects are rotated boxes, the rectangle of least area around each outline or bitmap.
        check_size: leave out images that have another size than the sample's metadata state.
        **kwargs: see ``DetDataset``.
    """

    def __init__(
        self, name: str | None = None, label_field: str = 'ground_truth', tag: str | None = None, **kwargs: Any
    ) -> None:
        self.name = name
        self.label_field = label_field
        self.tag = tag
        super().__init__(**kwargs)

    @classmethod
    def read_header(cls, cfg: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
        field = cfg.get('label_field') or 'ground_truth'
        samples, info = _read_samples(cfg.get('name'), cfg.get('data_root') or '')
        return _names_of(samples, info, field)

    @property
    def source(self) -> str:
        return str(Path(self.data_root) / 'samples.json') if self.name is None else f'FiftyOne dataset {self.name}'

    def read_files(self) -> Listing:
        samples, info = _read_samples(self.name, self.data_root)
        self._check_field(samples)
        self._point_names = _skeleton(info, self.label_field)
        finder, found, any_tagged = PathFinder(self.image_folder), [], False
        for place, sample in enumerate(samples, 1):
            where = f'sample {place}'
            if not isinstance(sample, dict) or not isinstance(sample.get('filepath'), str):
                self.skipped.append(Skip(self.source, where, 'a sample without a filepath'))
                continue
            tags = sample.get('tags')
            if self.tag is not None and not (isinstance(tags, list) and self.tag in tags):
                continue
            any_tagged = True
            path = self.find_image(finder, [sample['filepath']], self.source, where)
            if path is not None:
                labels = _labels_of(sample, self.label_field)
                found.append(ListedImage(path, self.source, labels, _stated_size(sample), where))
        if self.tag is not None and not any_tagged:
            raise DataError(f'no sample of {self.source!r} has the tag {self.tag!r}. Correct tag in the config.')
        return Listing(found, *_names_of(samples, info, self.label_field))

    def _check_field(self, samples: Sequence[Any]) -> None:
        """Refuse a field that no sample has, or that holds something else than objects."""
        kinds: dict[str, str] = {}
        for sample in samples:
            for name, value in sample.items() if isinstance(sample, dict) else ():
                if isinstance(value, dict) and isinstance(value.get('_cls'), str):
                    kinds[name] = value['_cls']
        fields = [name for name, kind in kinds.items() if kind in (*_LISTS, *_OBJECTS)]
        if kinds.get(self.label_field) not in (*_LISTS, *_OBJECTS):
            found = kinds.get(self.label_field)
            raise DataError(
                f'the samples of {self.source!r} have no objects in the field {self.label_field!r}'
                f'{f" (it holds {found})" if found else ""}; fields with objects are {shorten(fields, 8) or "none"}. '
                f'Set label_field to one of them.{nearest(self.label_field, fields)}'
            )

    def read_shapes(self, image: ListedImage, shape: tuple[int, int]) -> list[Shape]:
        shapes = []
        for place, entry in enumerate(image.entry, 1):
            where = f'object {place}'
            with self.leaving_out(image, where):
                shapes.append(self._read_object(entry, image, where, shape))
        return shapes

    def _read_object(self, entry: Any, image: ListedImage, where: str, size: tuple[int, int]) -> Shape:
        name = _label(entry)
        scale = np.array(size[::-1], np.float64)
        drawn = Shape(name, where, ignored=bool(entry.get('iscrowd')))
        if 'bounding_box' in entry:
            values = entry['bounding_box']
            if not isinstance(values, list) or len(values) != 4:
                raise EntryError('a bounding_box that is no list of 4 numbers')
            x, y, w, h = np.array([number(value) for value in values]) * np.tile(scale, 2)
            drawn.bbox = (x, y, x + w, y + h)
            if entry.get('mask') is not None:
                drawn.rle = _read_mask(entry['mask'], drawn.bbox, size)
            elif entry.get('mask_path'):
                reason = 'a mask in a file of its own (mask_path), of which the box alone is read'
                self.unused.append(Skip(self.source, image.place_of(where), reason))
        elif entry.get('_cls') == 'Keypoint':
            drawn.keypoints = _read_keypoints(entry, self._point_names, scale)
        else:
            if not (entry.get('closed') or entry.get('filled')):
                raise EntryError('a polyline that encloses nothing', broken=False)
            rings = entry.get('points')
            if not isinstance(rings, list) or not rings:
                raise EntryError('a polyline without points')
            drawn.rings = [points_of(ring) * scale for ring in rings]
        return drawn


def _read_samples(name: str | None, root: str) -> tuple[list[Any], dict]:
    """Return the samples as FiftyOne writes them to json, and the description of the dataset."""
    if name is not None:
        return _load_by_name(name)
    path = Path(root) / 'samples.json'
    if not path.is_file():
        raise DataError(
            f'there is no {str(path)!r}. Set data_root to a folder exported with dataset_type='
            'fiftyone.types.FiftyOneDataset, or name to a dataset of the database.'
        )
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get('samples'), list):
        raise DataError(f"{str(path)!r} is no export of FiftyOne's: it has no list 'samples'")
    info = read_json(path.with_name('metadata.json')) if path.with_name('metadata.json').is_file() else {}
    return content['samples'], info if isinstance(info, dict) else {}


def _load_by_name(name: str) -> tuple[list[Any], dict]:
    try:
        fiftyone = import_module('fiftyone')
    except ImportError as error:
        raise ConfigError(
            f'FiftyOneDataset(name={name!r}) needs the package fiftyone ({error}); install it with pip install '
            "'detkit[fiftyone]', or export the dataset to a folder and set data_root"
        ) from error
    known = fiftyone.list_datasets()
    if name not in known:
        raise DataError(f'FiftyOne has no dataset {name!r}, but {shorten(known, 8) or "none"}.{nearest(name, known)}')
    dataset = fiftyone.load_dataset(name)
    skeletons = {'': dataset.default_skeleton, **(dataset.skeletons or {})}
    info = {field: {'labels': own.labels} for field, own in skeletons.items() if own is not None}
    return [sample.to_dict() for sample in dataset], {'skeletons': info, 'default_skeleton': info.get('')}


def _skeleton(info: Mapping[str, Any], field: str) -> list[str]:
    """Return the names of the keypoints of a field, empty where the dataset has none."""
    skeletons = info.get('skeletons')
    own = skeletons.get(field) if isinstance(skeletons, dict) else None
    labels = next(
        (s['labels'] for s in (own, info.get('default_skeleton')) if isinstance(s, dict) and 'labels' in s), ()
    )
    good = isinstance(labels, list) and all(isinstance(name, str) and name for name in labels)
    return labels if good and len(set(labels)) == len(labels) else []


def _labels_of(sample: Mapping[str, Any], field: str) -> list[Any]:
    """Return the entries of the field that holds a sample's objects, none where it is null."""
    value = sample.get(field)
    if not isinstance(value, dict):
        return []
    entries = value.get(_LISTS.get(str(value.get('_cls')), ''), [value] if value.get('_cls') in _OBJECTS else [])
    return entries if isinstance(entries, list) else []


def _label(entry: Any) -> str:
    name = entry.get('label') if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise EntryError('an object without a label')
    return name.strip()


def _names_of(samples: Sequence[Any], info: Mapping[str, Any], field: str) -> tuple[Sequence[str], Sequence[str]]:
    """Return the labels of all objects, sorted, and the names of their keypoints."""
    entries = [entry for sample in samples if isinstance(sample, dict) for entry in _labels_of(sample, field)]
    entries = [entry for entry in entries if isinstance(entry, dict)]
    names = {entry['label'].strip() for entry in entries if isinstance(entry.get('label'), str)}
    points = [entry.get('points') for entry in entries if entry.get('_cls') == 'Keypoint']
    most = max((len(own) for own in points if isinstance(own, list)), default=0)
    return sorted(names - {''}), _skeleton(info, field) or [str(i) for i in range(most)]


def _stated_size(sample: Mapping[str, Any]) -> tuple[int, int] | None:
    metadata = sample.get('metadata')
    size = tuple(metadata.get(key) for key in ('height', 'width')) if isinstance(metadata, dict) else ()
    return size if size and all(type(side) is int and side > 0 for side in size) else None


def _read_keypoints(
    entry: Mapping[str, Any], names: Sequence[str], scale: np.ndarray
) -> dict[str, tuple[float, float, float]]:
    points, found = entry.get('points'), {}
    if not isinstance(points, list) or not points:
        raise EntryError('a keypoint object without points')
    for i, point in enumerate(points):
        if not isinstance(point, list) or len(point) != 2:
            raise EntryError('points that are no list of (x, y)')
        # A point that is not labelled is NaN, which MongoDB's json writes as {"$numberDouble": "NaN"}.
        if any(isinstance(value, dict) or value is None or value != value for value in point):
            continue
        x, y = np.array([number(value) for value in point]) * scale
        found[names[i] if i < len(names) else str(i)] = (float(x), float(y), 2.0)
    if not found:
        raise EntryError('a keypoint object without a labelled point', broken=False)
    return found


def _read_mask(mask: Any, bbox: Sequence[float], size: tuple[int, int]) -> dict:
    """Return the COCO RLE of a bitmap of a box: a numpy array, compressed by zlib, in base64."""
    binary = mask.get('$binary') if isinstance(mask, dict) else mask
    text = binary.get('base64') if isinstance(binary, dict) else binary
    x0, y0 = (round(value) for value in bbox[:2])
    width, height = (max(1, round(value)) for value in (bbox[2] - bbox[0], bbox[3] - bbox[1]))
    limit = 16 * size[0] * size[1] + 1024
    if width > 2 * size[1] or height > 2 * size[0]:
        raise EntryError('a mask of a box that is larger than the image')
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), limit)
        if np.lib.format.read_magic(header := BytesIO(data)) != (1, 0):
            raise ValueError('no array of numpy')
        array_shape, _, kind = np.lib.format.read_array_header_1_0(header)
        if len(array_shape) != 2 or not 0 < np.prod(array_shape, dtype=object) <= limit or kind.kind not in 'biuf':
            raise ValueError(f'an array of the shape {array_shape}')
        crop = np.load(BytesIO(data), allow_pickle=False) > 0
    except (ValueError, TypeError, OSError, EOFError, zlib.error, binascii.Error) as error:
        raise EntryError(f'a mask that cannot be read: {error}'[:200], 'a mask that cannot be read') from error
    resized = cv2.resize(crop.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return crop_to_rle(resized > 0, x0, y0, size)
