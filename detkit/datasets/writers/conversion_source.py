"""The input of the writers of annotation formats: the splits of a dataset under one list of classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from detkit.datasets.base import DetDataset
from detkit.datasets.class_names import UNUSED_CLASS
from detkit.datasets.image_files import read_image_size
from detkit.datasets.skips import Skip
from detkit.datasets.wrappers import RecordDataset, leaf_datasets
from detkit.structures.annotations import Record
from detkit.utils.errors import DataError

__all__ = ['Header', 'Source', 'SourceImage', 'SourceSplit', 'Tally']


# Entries of ``metainfo`` that no format has a place for.
_UNHELD = {'frequencies': 'how frequent the classes are', 'stuff_labels': 'which classes are stuff'}


class Tally:
    """Counts of what a conversion cannot keep, by reason, each with its first example."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, tuple[str, int | str | None]] = {}

    def add(self, reason: str, path: str, where: int | str | None = None, count: int = 1) -> None:
        """Count ``count`` entries of a file; ``where`` is the first one's place in it."""
        self._counts[reason] += count
        self._first.setdefault(reason, (path, where))

    def add_objects(self, reason: str, path: str, mask: np.ndarray) -> None:
        """Count the objects of an image where ``mask`` (``(N,)`` bool) holds."""
        if mask.any():
            self.add(reason, path, f'object {int(np.argmax(mask)) + 1}', int(mask.sum()))

    def skips(self) -> list[Skip]:
        """Return one entry a reason."""
        return [Skip(*self._first[reason], reason, count=count) for reason, count in self._counts.items()]


@dataclass(frozen=True)
class Header:
    """The properties that all images of a conversion share.

    Attributes:
        classes: names of the labels.
        category_ids: the source's own id of each class, or None where it has none.
        keypoint_names: names of the K keypoints; empty where there are none.
        flip_pairs: keypoints that are left and right of each other, or None where that is not known.
        skeleton: pairs of keypoints that limbs join.
        sigmas: K values, how exact each keypoint is; empty where there are none.
    """

    classes: tuple[str, ...]
    category_ids: tuple[int | str, ...] | None = None
    keypoint_names: tuple[str, ...] = ()
    flip_pairs: tuple[tuple[int, int], ...] | None = None
    skeleton: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] = ()


@dataclass(frozen=True)
class SourceImage:
    """An image to be written.

    Attributes:
        record: the image and its objects, whose labels count the header's classes.
        own_id: whether ``record.img_id`` is an id of the source's, no name made of the file's.
    """

    record: Record
    own_id: bool

    def read_shape(self, tally: Tally) -> tuple[int, int] | None:
        """Return (h, w), read from the file where the record has none; None, counted, where that fails."""
        if self.record.ori_shape is not None:
            return self.record.ori_shape
        try:
            return read_image_size(self.record.img_path)
        except OSError as error:
            tally.add(f'an image that cannot be read ({error.strerror or error})', self.record.img_path)
            return None


class SourceSplit:
    """The images of one split, made one by one.

    Args:
        name: 'train', 'val', ...
        leaves: the datasets that hold its records.
        new_labels: for each of them, ``(C,)`` the label that each of its own labels becomes; -1 for no class: such
            objects are left out.
    """

    def __init__(self, name: str, leaves: Sequence[Any], new_labels: Sequence[np.ndarray]) -> None:
        self.name = name
        self._leaves = leaves
        self._new_labels = new_labels

    def __len__(self) -> int:
        return sum(len(leaf.records) for leaf in self._leaves)

    def __iter__(self) -> Iterator[SourceImage]:
        for leaf, new_labels in zip(self._leaves, self._new_labels, strict=True):
            has_ids = isinstance(leaf, DetDataset) and leaf.has_image_ids
            for record in leaf.records:
                yield SourceImage(_relabel(record, new_labels), has_ids or isinstance(record.img_id, int))

    def paths(self) -> list[str]:
        """Return the paths of the images."""
        return [record.img_path for leaf in self._leaves for record in leaf.records]

    def count_objects(self, tally: Tally) -> int:
        """Return the number of objects; count those of no class, and own values, which no format holds."""
        total = 0
        for leaf, new_labels in zip(self._leaves, self._new_labels, strict=True):
            for record in leaf.records:
                labels = new_labels[record.annotations.labels]
                tally.add_objects('an object of a class without a name', record.img_path, labels < 0)
                for name in record.annotations.values:
                    tally.add_objects(f'the values {name!r} of an object', record.img_path, labels >= 0)
                total += len(labels)
        return total


def _relabel(record: Record, new_labels: np.ndarray) -> Record:
    annotations = replace(record.annotations, labels=new_labels[record.annotations.labels])
    named = annotations.labels >= 0
    segments = record.segments and replace(record.segments, ids=record.segments.ids[named])
    label = None if record.class_label is None else int(new_labels[record.class_label])
    return replace(record, annotations=annotations.select(named), class_label=label, segments=segments)


@dataclass
class Source:
    """The splits of a dataset under one list of classes.

    Attributes:
        header: what they have in common.
        splits: the splits.
        left_out: what the datasets left out when they read their files.
    """

    header: Header
    splits: list[SourceSplit]
    left_out: list[Skip] = field(default_factory=list)

    @staticmethod
    def of(datasets: Mapping[str, Any], tally: Tally) -> Source:
        """Join the datasets of several splits.

        Classes are known by their names: where the splits list different ones, all are taken, the first split's first.
        Repeated datasets are read once.

        Args:
            datasets: by name of the split, built datasets; they may be wrapped.
            tally: counts what cannot be joined.

        Raises:
            DataError: a dataset holds no records, or two of them differ in their keypoints.
        """
        leaves = {
            name: list({id(leaf): leaf for leaf in leaf_datasets(dataset)}.values())
            for name, dataset in datasets.items()
        }
        every = [leaf for own in leaves.values() for leaf in own]
        for leaf in every:
            if not isinstance(leaf, RecordDataset):
                raise DataError(f'{type(leaf).__name__} holds no records of annotations, which a conversion needs')
        labels: dict[str, int] = {}
        for leaf in every:
            for name in map(str, leaf.metainfo.get('classes') or ()):
                if name != UNUSED_CLASS:
                    labels.setdefault(name, len(labels))
        for key, what in _UNHELD.items():
            if any(leaf.metainfo.get(key) for leaf in every):
                tally.add(what, type(every[0]).__name__)
        header = Header(tuple(labels), _category_ids(every, tuple(labels), tally), **_keypoints(every))
        splits = [
            SourceSplit(
                name,
                own,
                [
                    np.array([labels.get(str(c), -1) for c in leaf.metainfo.get('classes') or ()], np.int64)
                    for leaf in own
                ],
            )
            for name, own in leaves.items()
        ]
        return Source(header, splits, [skip for leaf in every for skip in (*leaf.skipped, *leaf.unused)])


def _category_ids(leaves: Sequence[Any], classes: Sequence[str], tally: Tally) -> tuple[int | str, ...] | None:
    """Return the id of each class, where all have one and only one, and no two the same."""
    found: dict[str, set[int | str]] = {name: set() for name in classes}
    for leaf in leaves:
        names, ids = leaf.metainfo.get('classes') or (), leaf.metainfo.get('category_ids') or ()
        if len(names) == len(ids):  # all objects as one class leave the ids of many
            for name, number in zip(map(str, names), ids, strict=True):
                if name in found and number is not None:
                    found[name].add(number)
    ids = [number for own in found.values() for number in own]
    if len(set(ids)) == len(ids) == len(classes) and all(found.values()):
        return tuple(ids)
    if ids:
        tally.add(
            'a category id, as the parts of the source give their classes different ones: numbered anew',
            type(leaves[0]).__name__,
            count=len(classes),
        )
    return None


def _keypoints(leaves: Sequence[Any]) -> dict[str, Any]:
    """Return the header's entries for keypoints."""
    with_keypoints = [leaf.metainfo for leaf in leaves if leaf.metainfo.get('keypoint_names')]
    if not with_keypoints:
        return {}
    first = with_keypoints[0]
    for other in with_keypoints:
        if tuple(other['keypoint_names']) != tuple(first['keypoint_names']):
            raise DataError(
                f'the parts of the source have different keypoints: {", ".join(first["keypoint_names"])} and '
                f'{", ".join(other["keypoint_names"])}. Convert them one by one.'
            )
    return {
        'keypoint_names': tuple(first['keypoint_names']),
        'flip_pairs': first.get('flip_pairs'),
        'skeleton': tuple(first.get('skeleton') or ()),
        'sigmas': tuple(first.get('sigmas') or ()),
    }
