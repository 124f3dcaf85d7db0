"""Hugging Face ``datasets``: a folder that ``save_to_disk`` wrote, or an object."""

from __future__ import annotations

import hashlib
import os
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from detkit.datasets.base import check_choice
from detkit.datasets.box_forms import CORNERS, look_like_corners
from detkit.datasets.class_names import refuse_repeated
from detkit.datasets.formats.shape_dataset import ListedImage, Listing, ShapeDataset
from detkit.datasets.formats.shapes import EntryError, Shape, number
from detkit.datasets.image_files import HEADER_ERRORS, is_image_name, open_image
from detkit.datasets.skips import MISSING_IMAGE, Skip
from detkit.registry import DATASETS
from detkit.structures.annotations import Record
from detkit.utils.errors import ConfigError, DataError, nearest, shorten
from detkit.utils.files import draft_folder

__all__ = ['HuggingFaceDataset']

_LABELS = ('category', 'label', 'categories', 'labels', 'category_id', 'class')
_IMAGE_FOLDER = 'detkit_images'


@DATASETS.register_module()
class HuggingFaceDataset(ShapeDataset):
    """Images of a Hugging Face dataset (https://huggingface.co/docs/datasets): a column of images, one of objects.

    The column of objects holds the lists ``bbox`` and ``category`` (or ``label``, ...). Objects with ``iscrowd`` are
    ``ignored``; other keys (``id``, ``area``, ``segmentation``) are not read. Labels are names, or numbers that the
    column's ``ClassLabel``, else ``metainfo['classes']``, names. Images that are stored in the dataset are written to a
    folder once, byte for byte, those of a split to a folder of its name in it.

    Args:
        bbox_format: what the numbers of a box are: 'xywh' (left, top, width, height, as in COCO), 'xyxy' or 'cxcywh'.
        normalized: they are shares of the image's size, not pixels.
        split: the split of a ``DatasetDict``; None where there is none.
        dataset: the object, in Python; None: ``data_root`` is the folder of ``save_to_disk``.
        image_column: the column of the images.
        objects_column: the column of the objects.
        images: the folder that stored images are written to, relative to ``data_root``.
        **kwargs: see ``DetDataset``.
    """

    def __init__(
        self,
        bbox_format: str,
        normalized: bool = False,
        split: str | None = None,
        dataset: Any = None,
        image_column: str = 'image',
        objects_column: str = 'objects',
        images: str = _IMAGE_FOLDER,
        **kwargs: Any,
    ) -> None:
        check_choice('bbox_format', bbox_format, ('xywh', 'xyxy', 'cxcywh'))
        for name in {'keypoints', 'rotated', 'check_size'} & kwargs.keys():
            raise ConfigError(f'HuggingFaceDataset has no argument {name!r}: it reads upright boxes alone')
        if dataset is None and not kwargs.get('data_root'):
            raise ConfigError('HuggingFaceDataset needs data_root, the folder of save_to_disk, or a dataset')
        self.bbox_format = bbox_format
        self.normalized = normalized
        self.split = split
        self.dataset = dataset
        self.image_column = image_column
        self.objects_column = objects_column
        self._numbers = array('d')  # of the boxes, as they are written
        super().__init__(images, **kwargs)

    @classmethod
    def read_header(cls, cfg: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
        dataset = _open(cfg.get('dataset'), cfg.get('data_root') or '', cfg.get('split'))
        return _class_names(dataset, cfg.get('objects_column') or 'objects'), ()

    @property
    def source(self) -> str:
        return self.data_root or f'the dataset {self.split or ""}'.strip()

    def read_files(self) -> Listing:
        dataset = _open(self.dataset, self.data_root, self.split)
        columns = list(dataset.features)
        for key, name in (('image_column', self.image_column), ('objects_column', self.objects_column)):
            if name not in columns:
                raise DataError(
                    f'{self.source!r} has no column {name!r}, but {shorten(columns, 8)}; set {key}.'
                    f'{nearest(name, columns)}'
                )
        # The column as bytes and path, not decoded.
        dataset = dataset.cast_column(self.image_column, import_datasets().Image(decode=False))
        classes = _class_names(dataset, self.objects_column)
        found = []
        for place in range(len(dataset)):
            row, where = dataset[place], f'row {place}'
            try:
                path = self._image_path(row.get(self.image_column), place)
            except EntryError as error:
                self.skipped.append(Skip(self.source, where, error.reason, error.kind))
                continue
            found.append(ListedImage(path, self.source, row.get(self.objects_column), where=where))
        self._label_names = (
            _label_names(dataset.features[self.objects_column]) or self.metainfo.get('classes') or classes
        )
        return Listing(found, classes)

    def load_records(self) -> list[Record]:
        records = super().load_records()
        numbers = np.frombuffer(self._numbers).reshape(-1, 4)
        if self.bbox_format != 'xyxy' and look_like_corners(numbers, np.arange(len(numbers)) < len(self._beyond)):
            raise DataError(
                f"the box {numbers[0].tolist()} of {self.source!r} {CORNERS} Set bbox_format to 'xyxy'; it is "
                f'{self.bbox_format!r}.'
            )
        return records

    def _image_path(self, image: Any, place: int) -> str:
        """Return the path of a row's image, which is written where it is stored in the dataset."""
        image = image if isinstance(image, dict) else {}
        path, data = image.get('path'), image.get('bytes')
        named = isinstance(path, str) and bool(path)
        if not isinstance(data, bytes):
            if not named or not os.path.isfile(path):
                raise EntryError(f'there is no image {path!r}', MISSING_IMAGE)
            return path
        name = _plain(os.path.basename(path.replace('\\', '/'))) if named else ''
        if not is_image_name(f'0{name}'):
            try:
                with open_image(BytesIO(data)) as opened:
                    name += f'.{opened.format.lower()}'
            except (OSError, *HEADER_ERRORS) as error:
                raise EntryError(f'an image that cannot be read: {error}', 'an image that cannot be read') from error
        return _write_once(
            Path(self.image_folder, _plain(self.split or '').strip('.')), f'{place:08d}-{name[-100:]}', data
        )

    def _note_unused_images(self, images: Sequence[ListedImage]) -> None:
        """Note nothing: the folder holds what was written to it, also for other datasets."""

    def read_shapes(self, image: ListedImage, shape: tuple[int, int]) -> list[Shape]:
        shapes = []
        for place, (bbox, label, crowd) in enumerate(_objects_of(image.entry), 1):
            where = f'object {place}'
            with self.leaving_out(image, where):
                name, corners = self._class_name(label), self._corners(bbox, shape)
                shapes.append(Shape(name, where, corners, ignored=bool(crowd)))
        return shapes

    def _class_name(self, label: Any) -> str:
        if isinstance(label, str) and label.strip():
            return label.strip()
        names = self._label_names
        if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(names):
            return names[label]
        raise EntryError(f'the label {str(label)[:40]!r}, which is no name and no number of a class', 'a wrong label')

    def _corners(self, bbox: Any, size: tuple[int, int]) -> tuple[float, ...]:
        if not isinstance(bbox, Sequence | np.ndarray) or isinstance(bbox, str) or len(bbox) != 4:
            raise EntryError('a bbox that is no list of 4 numbers')
        x, y, w, h = np.array([number(value) for value in bbox]) * (np.tile(size[::-1], 2) if self.normalized else 1)
        self._numbers.extend((x, y, w, h))
        if self.bbox_format == 'xyxy':
            w, h = w - x, h - y
        elif self.bbox_format == 'cxcywh':
            x, y = x - w / 2, y - h / 2
        if not (w > 0 and h > 0):
            raise EntryError(f'a width or height of {w:g}x{h:g}; is bbox_format right?', 'a box without an area')
        return float(x), float(y), float(x + w), float(y + h)


def import_datasets() -> Any:
    """Return the module ``datasets``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module('datasets')
    except ImportError as error:
        raise ConfigError(
            f"HuggingFaceDataset needs the package datasets ({error}); install it with pip install 'detkit[hf]'"
        ) from error


def _open(dataset: Any, root: str, split: str | None) -> Any:
    if dataset is None:
        module = import_datasets()
        try:
            dataset = module.load_from_disk(root)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f'the folder {root!r} cannot be read as a Hugging Face dataset: {error}. Set data_root to a folder '
                'that save_to_disk wrote.'
            ) from error
    if isinstance(dataset, dict):  # a DatasetDict
        if split not in dataset:
            raise DataError(
                f'the dataset {root!r} has the splits {", ".join(map(repr, dataset))}; set split to one of them.'
                f'{nearest(split, dataset)}'
            )
        return dataset[split]
    if split is not None:
        raise ConfigError(f'split={split!r} of HuggingFaceDataset: the dataset {root!r} has no splits; leave split out')
    return dataset


def _label_names(feature: Any) -> list[str]:
    """Return the names of the ``ClassLabel`` of a column of objects, empty where it has none.

    Raises:
        DataError: two of them are the same.
    """
    while not isinstance(feature, Mapping):
        inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, 'feature', None)
        if inner is None:
            return []
        feature = inner
    for key in _LABELS:
        label = feature.get(key)
        while label is not None and getattr(label, 'names', None) is None:
            label = label[0] if isinstance(label, list) and label else getattr(label, 'feature', None)
        if label is not None:
            refuse_repeated(label.names, 'the ClassLabel of the objects')
            return list(label.names)
    return []


def _class_names(dataset: Any, column: str) -> list[str]:
    """Return the names of the ``ClassLabel``, else the names in the rows, sorted."""
    if column not in dataset.features:
        return []
    names = _label_names(dataset.features[column])
    if names:
        return names
    objects = dataset[column]
    found = {label for row in objects for _, label, _ in _objects_of(row)}
    texts = {label.strip() for label in found if isinstance(label, str)} - {''}
    numbers = [label for label in found if isinstance(label, int) and not isinstance(label, bool) and label >= 0]
    return sorted(texts) if texts else [str(i) for i in range(min(max(numbers, default=-1) + 1, 100_000))]


def _objects_of(entry: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield box, label and crowd flag of each object of a row: a mapping of lists, or a list of mappings."""
    if isinstance(entry, list):
        for own in entry:
            own = own if isinstance(own, dict) else {}
            key = next((key for key in _LABELS if key in own), '')
            label = own.get(key)
            yield own.get('bbox'), label if isinstance(label, str | int) else None, own.get('iscrowd')
        return
    entry = entry if isinstance(entry, dict) else {}
    key = next((key for key in _LABELS if key in entry), '')
    lists = [own if isinstance(own, list) else [] for own in (entry.get('bbox'), entry.get(key), entry.get('iscrowd'))]
    for i in range(max(map(len, lists[:2]))):
        bbox, label, crowd = (own[i] if i < len(own) else None for own in lists)
        yield bbox, label if isinstance(label, str | int) else None, crowd


def _plain(name: str) -> str:
    """Return a name of letters, digits, '_', '.' and '-' alone."""
    return re.sub(r'[^\w.-]', '_', name)


def _write_once(folder: Path, name: str, data: bytes) -> str:
    """Write a file that is not there yet, whole or not at all, and return its path.

    Where another file has the name, as of another dataset in the same folder, the name gets a digest of the data.
    """
    path = folder / name
    try:
        if path.is_file() and path.read_bytes() != data:
            stem, suffix = os.path.splitext(name)
            path = folder / f'{stem}-{hashlib.blake2b(data, digest_size=8).hexdigest()}{suffix}'
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with draft_folder(folder) as draft:
                (draft / path.name).write_bytes(data)
                os.replace(draft / path.name, path)
    except OSError as error:
        raise DataError(
            f'the image {str(path)!r} of the dataset cannot be written: {error.strerror}. Set images to a folder that '
            'can be written to.'
        ) from error
    return str(path)
