"""Datasets in DOTA's form: images, and text files with a quadrilateral a line."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detkit.datasets.base import DetDataset
from detkit.datasets.class_names import DOTA18
from detkit.datasets.formats.yolo_labels import flat_quads, visible_hulls
from detkit.datasets.image_files import list_images, read_image_sizes, unread_images, unreadable, with_unique_ids
from detkit.datasets.skips import Skip, check_skips
from detkit.registry import DATASETS
from detkit.structures.annotations import Annotations, Record
from detkit.structures.rotated_bboxes import corners_to_rbboxes
from detkit.utils.errors import ConfigError, DataError
from detkit.utils.numbers import parse_float
from detkit.utils.text_files import read_text

# Lines before the objects, for example 'imagesource:GoogleEarth' and 'gsd:0.146'.
_HEADERS = ('imagesource', 'gsd')
_LARGEST = 10_000_000  # coordinate, far beyond the sides of any image


@dataclass
class DotaLabels:
    """The objects of one label file.

    Attributes:
        corners: ``(N, 4, 2)`` float64, pixels.
        names: N class names as ``class_key`` writes them.
        difficult: ``(N,)`` bool.
        numbers: ``(N,)`` int64, the line of each, from 1.
        skipped, duplicates: (line number from 1, reason) of the lines that were left out.
    """

    corners: np.ndarray
    names: list[str]
    difficult: np.ndarray
    numbers: np.ndarray
    skipped: list[tuple[int, str]] = field(default_factory=list)
    duplicates: list[tuple[int, str]] = field(default_factory=list)


@DATASETS.register_module()
class DotaDataset(DetDataset):
    """Images with one DOTA label file each (arXiv:1711.10398): ``x1 y1 x2 y2 x3 y3 x4 y4 class difficult`` a line.

    Coordinates are pixels, corners in order around the object; some may lie outside the image. Difficult objects are
    ``ignored``. ``metainfo['classes']`` chooses classes by name and gives their order; '-', '_' and ' ' in names are
    the same. Objects of DOTA's other classes are not asked for; lines that break a rule, names that DOTA does not have
    included, are left out alone and listed in ``skipped``.

    Large images are cut into tiles first, see ``detkit tile-dota``.

    Args:
        images: the folder of images, relative to ``data_root``.
        labels: the folder of label files, relative to ``data_root``, one called as the image, with ``.txt``. An image
            without one shows no object. None: no image has (DOTA's test set).
        **kwargs: see ``DetDataset``.
    """

    def __init__(self, images: str = 'images', labels: str | None = 'labelTxt', **kwargs: Any) -> None:
        self.images = images
        self.labels = labels
        super().__init__(**kwargs)

    def load_records(self) -> list[Record]:
        classes = self.metainfo.get('classes')
        if not classes:
            raise DataError(
                f'the classes of {self.data_root!r} are not known: set metainfo=dict(classes=[...]) in the '
                'config of the dataset'
            )
        label_of: dict[str, int] = {}
        for label, name in enumerate(classes):
            first = label_of.setdefault(class_key(name), label)
            if first != label:
                raise ConfigError(
                    f'metainfo.classes of {type(self).__name__} names {classes[first]!r} and {name!r}, which are one '
                    "class in DOTA ('-', '_', ' ' and case are the same there); leave one of them out"
                )
        self._other_classes: Counter[str] = Counter()
        try:
            paths = list_images(Path(self.data_root) / self.images)
        except DataError as error:
            raise DataError(
                f'{error}. Correct images (relative to data_root={self.data_root!r}) in the config of the dataset.'
            ) from error
        label_files = self._find_labels(paths)
        records, num_entries = [], len(paths)
        for path, shape, file in zip(paths, read_image_sizes(paths), label_files, strict=True):
            if isinstance(shape, OSError):
                self.skipped.append(unreadable(path, shape))
                continue
            try:
                found = parse_dota_labels('') if file is None else read_dota_labels(file, (*DOTA18, *classes))
            except DataError as error:
                self.skipped.append(Skip(file, None, str(error), 'a label file that cannot be read'))
                continue
            num_entries += len(found.names) + len(found.skipped)
            self.skipped += [Skip(file, line, reason) for line, reason in found.skipped]
            self.unused += [Skip(file, line, reason) for line, reason in found.duplicates]
            annotations = self._annotations(found, shape, label_of, file)
            records.append(Record(path, os.path.splitext(os.path.basename(path))[0], shape, annotations))
        source = str(Path(self.data_root) / self.images)
        self.unused += unread_images(source)
        check_skips(self.skipped, num_entries, self.max_skipped, source)
        if self._other_classes:
            present = {classes[label] for record in records for label in record.annotations.labels}
            self.note_other_classes(self._other_classes, present, str(Path(self.data_root) / self.labels))
        return with_unique_ids(records)

    def _find_labels(self, paths: Sequence[str]) -> list[str | None]:
        if self.labels is None:
            return [None] * len(paths)
        folder = Path(self.data_root) / self.labels
        names = set(os.listdir(folder)) if folder.is_dir() else set()
        files = [os.path.splitext(os.path.basename(path))[0] + '.txt' for path in paths]
        alone = sorted(name for name in names.difference(files) if name.endswith('.txt'))
        self.unused += [Skip(str(folder / name), None, 'a label file without an image') for name in alone]
        found = [str(folder / file) if file in names else None for file in files]
        if not any(found):
            raise DataError(
                f'no label file was found in {str(folder)!r} for any of the {len(paths)} images. Correct labels '
                f'(relative to data_root={self.data_root!r}) in the config of the dataset, or set it to None where '
                'there are none.'
            )
        return found

    def _annotations(
        self, found: DotaLabels, shape: tuple[int, int], label_of: dict[str, int], file: str | None
    ) -> Annotations:
        """Return the objects of the wanted classes that can be seen."""
        hulls = visible_hulls(found.corners, (0, 0, shape[1], shape[0]))
        unseen = (hulls == 0).all(1)
        self.skipped += [Skip(file, int(line), 'four corners outside the image') for line in found.numbers[unseen]]
        labels = np.array([label_of.get(name, 0 if self.single_class else -1) for name in found.names], np.int64)
        keep = (labels >= 0) & ~unseen
        self._other_classes.update(found.names[i] for i in np.flatnonzero(labels < 0))
        rbboxes = corners_to_rbboxes(found.corners[keep])
        return Annotations(
            labels=labels[keep],
            bboxes=hulls[keep].astype(np.float32),
            ignored=found.difficult[keep],
            areas=rbboxes[:, 2:4].prod(1),
            rbboxes=rbboxes,
        )


def class_key(name: str) -> str:
    """Return a class name as names are compared: ``'storage-tank'`` and ``'storage tank'`` are one class."""
    return name.strip().lower().replace('-', ' ').replace('_', ' ')


def read_dota_labels(path: str | os.PathLike, known: Sequence[str] = DOTA18) -> DotaLabels:
    """Read one label file; see ``parse_dota_labels``.

    Raises:
        DataError: the file cannot be read, or is no text.
    """
    return parse_dota_labels(read_text(path, 'label file'), known)


def parse_dota_labels(text: str, known: Sequence[str] = DOTA18) -> DotaLabels:
    """Parse the contents of a label file.

    Args:
        text: the file's text. A line's last value, difficult, may be missing; 1 means yes, and so does 2, which tiling
            tools give to objects that they cut.
        known: names of classes; another name is a mistake.
    """
    known = {class_key(name) for name in known}
    quads, names, difficult, numbers = [], [], [], []
    skipped: list[tuple[int, str]] = []
    duplicates: list[tuple[int, str]] = []
    seen: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        values = line.split()
        if not values or values[0].partition(':')[0].lower() in _HEADERS:
            continue
        problem = None
        try:
            quad = [parse_float(value) for value in values[:8]]
            hard = parse_float(values[9]) if len(values) == 10 else 0.0
        except ValueError:
            problem = 'a value that is no number'
        else:
            if len(values) not in (9, 10):
                problem = f'{len(values)} values, where four corners, a class and difficult are 10'
            elif not np.isfinite(quad).all() or hard not in (0, 1, 2):
                problem = 'a coordinate that is not finite, or difficult other than 0, 1, 2'
            elif np.abs(quad).max() > _LARGEST:
                problem = f'a coordinate beyond {_LARGEST:,} pixels'
            elif class_key(values[8]) not in known:
                problem = f'the class {values[8]!r}, which DOTA does not have'
        if problem:
            skipped.append((number, problem))
        elif line.strip() in seen:
            duplicates.append((number, 'the same as an earlier line'))
        else:
            seen.add(line.strip())
            quads.append(quad)
            names.append(class_key(values[8]))
            difficult.append(hard > 0)
            numbers.append(number)
    corners = np.array(quads, np.float64).reshape(-1, 4, 2)
    flat = flat_quads(corners)
    skipped += [(numbers[i], 'four corners without an area') for i in np.flatnonzero(flat)]
    keep = np.flatnonzero(~flat)
    return DotaLabels(
        corners[keep],
        [names[i] for i in keep],
        np.array(difficult, bool)[keep],
        np.array(numbers, np.int64)[keep],
        sorted(skipped),
        duplicates,
    )
