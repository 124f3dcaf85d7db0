"""Images and objects of datasets as flat arrays, made without a pipeline and without decoding images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine.config import Config

from detkit.config.signatures import arguments_of
from detkit.datasets.image_files import read_image_sizes
from detkit.datasets.skips import Skip
from detkit.datasets.wrappers import leaf_datasets
from detkit.registry import DATASETS
from detkit.structures.annotations import Record
from detkit.utils.errors import ConfigError, DataError

SPLITS = ('train', 'val', 'test')

# Arguments that only training needs, and their values for looking at a dataset.
_PLAIN = dict(pipeline=[], cache=None, rect=False)


@dataclass
class SplitTable:
    """The N objects and I images of one split.

    Attributes:
        name: 'train', 'val' or 'test'.
        records: the I images.
        shapes: ``(I, 2)`` int64 (h, w); zeros where it is not known.
        images: ``(N,)`` int64, the image each object is in, non-decreasing.
        numbers: ``(N,)`` int64, which object of its image it is.
        labels: ``(N,)`` int64.
        bboxes: ``(N, 4)`` float64 xyxy in pixels.
        ignored: ``(N,)`` bool, crowd or difficult.
        areas: ``(N,)`` float64, those that the metrics of sizes go by: as stated, or of the outline or the box.
        rbboxes: ``(N, 5)`` rotated boxes or None.
        keypoints: ``(N, K, 3)`` or None.
        outlines: ``(N, 4)`` xyxy around each object's outline, zeros for one without, or None where none has any.
        class_labels: ``(I,)`` int64 of a classifier's images, else None.
        skipped: entries that the reader of the files left out because they are broken.
        unused: entries left out for another reason, for example objects that repeat another one exactly.
        metainfo: meta information of the dataset.
    """

    name: str
    records: Sequence[Record]
    shapes: np.ndarray
    images: np.ndarray
    numbers: np.ndarray
    labels: np.ndarray
    bboxes: np.ndarray
    ignored: np.ndarray
    areas: np.ndarray
    rbboxes: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    outlines: np.ndarray | None = None
    class_labels: np.ndarray | None = None
    skipped: list[Skip] = field(default_factory=list)
    unused: list[Skip] = field(default_factory=list)
    metainfo: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(map(str, self.metainfo['classes']))

    @property
    def per_image(self) -> np.ndarray:
        """Numbers of objects of each image, ``(I,)``, without ignored ones."""
        return np.bincount(self.images[~self.ignored], minlength=len(self.records))

    @property
    def num_objects(self) -> int:
        """Number of objects that are not ignored; of a classifier's data, of images."""
        return int(self.class_counts()[1].sum())

    def class_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Count the images that show each class and its objects, ``(C,)`` each (the same of a classifier's data)."""
        count = len(self.classes)
        if self.class_labels is not None:
            images = np.bincount(self.class_labels, minlength=count)
            return images, images
        used = ~self.ignored
        objects = np.bincount(self.labels[used], minlength=count)
        pairs = np.unique(np.stack([self.images[used], self.labels[used]], 1), axis=0)
        return np.bincount(pairs[:, 1], minlength=count), objects

    @property
    def sizes_wh(self) -> np.ndarray:
        """Widths and heights in pixels, ``(N, 2)`` float64; long and short sides of rotated boxes."""
        return self.bboxes[:, 2:] - self.bboxes[:, :2] if self.rbboxes is None else self.rbboxes[:, 2:4]

    @property
    def object_shapes(self) -> np.ndarray:
        """(h, w) of the image of each object, ``(N, 2)`` float64."""
        return self.shapes[self.images].astype(np.float64)


def load_splits(config: Config, names: Sequence[str] | None = None) -> list[SplitTable]:
    """Return the datasets that a config's loaders of these names read.

    A loader that reads the same as an earlier one, as a test loader often does, is left out. Entries that the files'
    readers skip are no error here: they are part of the report.

    Args:
        config: loaded.
        names: None for training and validation, as far as the config has them.

    Raises:
        ConfigError: there is no such loader.
        DataError: a dataset cannot be read at all, or the splits name different classes.
    """
    tables: list[SplitTable] = []
    seen: list[Any] = []
    for name in names or _usual_splits(config):
        loader = config.get(f'{name}_dataloader')
        if not loader or not loader.get('dataset'):
            there = [split for split in SPLITS if config.get(f'{split}_dataloader')]
            raise ConfigError(
                f'{config.filename}: the config has no {name}_dataloader; it has one for '
                f'{", ".join(there) or "no split"}'
            )
        dataset = plain_dataset(loader['dataset'], max_skipped=1.0)
        if dataset in seen:
            continue
        seen.append(dataset)
        tables.append(make_table(name, DATASETS.build(dataset)))
        _read_shapes(tables[-1])
    for table in tables[1:]:
        _check_classes(tables[0], table)
    return tables


def _usual_splits(config: Config) -> list[str]:
    return [name for name in ('train', 'val') if config.get(f'{name}_dataloader')] or ['train']


def plain_dataset(cfg: dict, **changes: Any) -> dict:
    """Return the config of a dataset without what only training needs, and with changes; in wrapped datasets, too."""
    if 'dataset' in cfg:
        return {**cfg, 'dataset': plain_dataset(cfg['dataset'], **changes)}
    if 'datasets' in cfg:
        return {**cfg, 'datasets': [plain_dataset(part, **changes) for part in cfg['datasets']]}
    kind = cfg['type']
    taken = arguments_of(DATASETS.get(kind) if isinstance(kind, str) else kind).names
    return {**cfg, **{key: value for key, value in {**_PLAIN, **changes}.items() if key in taken}}


def make_table(name: str, dataset: Any) -> SplitTable:
    """Return the images and objects of all parts of a dataset, each part once however often it is repeated.

    No file is read: the shapes are those that the records state.
    """
    leaves = list(leaf_datasets(dataset))
    records = leaves[0].records if len(leaves) == 1 else [record for leaf in leaves for record in leaf.records]
    annotations = [record.annotations for record in records]
    counts = np.array([len(own) for own in annotations], np.int64)
    images = np.repeat(np.arange(len(records)), counts)
    classified = [record.class_label for record in records]

    def joined(arrays: list[np.ndarray], shape: tuple[int, ...], dtype: type) -> np.ndarray:
        return np.concatenate([np.zeros((0, *shape), dtype), *arrays]).astype(dtype, copy=False)

    return SplitTable(
        name=name,
        records=records,
        shapes=np.array([record.ori_shape or (0, 0) for record in records], np.int64).reshape(-1, 2),
        images=images,
        numbers=np.arange(len(images)) - np.repeat(np.cumsum(counts) - counts, counts),
        labels=joined([own.labels for own in annotations], (), np.int64),
        bboxes=joined([own.bboxes for own in annotations], (4,), np.float64),
        ignored=joined([own.ignored for own in annotations], (), bool),
        areas=joined([own.areas for own in annotations], (), np.float64),
        rbboxes=_optional(counts, [own.rbboxes for own in annotations]),
        keypoints=_optional(counts, [own.keypoints for own in annotations]),
        outlines=_optional(
            counts, [None if own.polygons is None else own.polygons.bboxes(len(own)) for own in annotations]
        ),
        class_labels=np.array(classified, np.int64) if all(label is not None for label in classified) else None,
        skipped=[skip for leaf in leaves for skip in leaf.skipped],
        unused=[skip for leaf in leaves for skip in leaf.unused],
        metainfo=dict(leaves[0].metainfo),
    )


def _optional(counts: np.ndarray, arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Join the arrays of images of so many objects: zeros for images that lack it, None if all images lack it."""
    shape = next((own.shape[1:] for own in arrays if own is not None), None)
    if shape is None:
        return None
    filled = [np.zeros((count, *shape)) if own is None else own for count, own in zip(counts, arrays, strict=True)]
    return np.concatenate(filled).astype(np.float64)


def _read_shapes(table: SplitTable) -> None:
    """Fill in the shapes of images that can be read, from the headers of the files."""
    unknown = np.flatnonzero((table.shapes == 0).all(1))
    sizes = read_image_sizes([table.records[index].img_path for index in unknown])
    for index, size in zip(unknown, sizes, strict=True):
        if not isinstance(size, OSError):
            table.shapes[index] = size


def _check_classes(first: SplitTable, other: SplitTable) -> None:
    """Raise an error unless both splits name the same classes."""
    ours, theirs = first.classes, other.classes
    if ours == theirs:
        return
    differing = next((label for label, (one, two) in enumerate(zip(ours, theirs, strict=False)) if one != two), None)
    where = (
        f'label {differing} is {ours[differing]!r} in {first.name}, but {theirs[differing]!r} in {other.name}'
        if differing is not None
        else f'{first.name} has {len(ours)}, {other.name} {len(theirs)}'
    )
    raise DataError(
        f'the splits name different classes: {where}. Give both datasets the same metainfo=dict(classes=...).'
    )
