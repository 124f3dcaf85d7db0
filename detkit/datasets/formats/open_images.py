"""Datasets in Open Images' csv form: one row a box, coordinates as shares of the image."""

from __future__ import annotations

import csv
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detkit.datasets.base import DetDataset
from detkit.datasets.class_names import CLASSES_REMEDY
from detkit.datasets.flat_annotations import FlatAnnotations, FlatRecords
from detkit.datasets.image_files import images_below, read_image_sizes, unread_images, unreadable
from detkit.datasets.skips import Skip, check_skips, list_skips
from detkit.registry import DATASETS
from detkit.utils.errors import DataError, absence, nearest
from detkit.utils.numbers import parse_float
from detkit.utils.text_files import open_text, read_lines, read_text

__all__ = ['OpenImagesDataset']

_SIDES = ('XMin', 'YMin', 'XMax', 'YMax')
_COLUMNS = ('ImageID', 'LabelName', *_SIDES)
# Coordinates beyond it are pixels, or wrong; a little over 1 is the inexactness of tools.
_MOST = 1.5
# Values of ``IsGroupOf``: Open Images' own, -1 being unknown, and what tables of other programs make of them.
_FLAGS = {'1': True, '1.0': True, 'true': True} | dict.fromkeys(('0', '0.0', 'false', '-1', '-1.0', '', 'nan'), False)


@dataclass
class _Boxes:
    """The boxes of a file in columns; what names the images and the classes is written once each."""

    image_ids: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    images: array = field(default_factory=lambda: array('q'))
    labels: array = field(default_factory=lambda: array('q'))
    sides: array = field(default_factory=lambda: array('f'))
    groups: array = field(default_factory=lambda: array('b'))


@DATASETS.register_module()
class OpenImagesDataset(DetDataset):
    """Images with a csv of boxes in the form of Open Images (https://storage.googleapis.com/openimages/web), V4 to V7.

    Boxes around groups (``IsGroupOf``) are ``ignored``. ``metainfo['classes']`` chooses classes by name and gives their
    order; without it those of ``class_file`` are taken, in its order. Images that the csv names and the folder lacks
    are not used, as most people load a part of the set; the csv's segmentation masks, image labels, relationships and
    the hierarchy of the classes are not read.

    Args:
        ann_file: the csv of boxes, relative to ``data_root``.
        class_file: the csv with the code and the name of each class, relative to ``data_root``; None: the codes of
            ``ann_file`` are the names, in alphabetical order.
        images: the folder of the images, ``<ImageID>.jpg``, relative to ``data_root``; folders in it count.
        **kwargs: see ``DetDataset``.
    """

    def __init__(
        self,
        ann_file: str,
        class_file: str | None = 'class-descriptions-boxable.csv',
        images: str = 'train',
        **kwargs: Any,
    ) -> None:
        self.ann_file = ann_file
        self.class_file = class_file
        self.images = images
        super().__init__(**kwargs)

    @classmethod
    def peek(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        known = super().peek(cfg)
        if known.get('classes'):
            return known
        root, class_file = Path(cfg.get('data_root') or ''), cfg.get('class_file', 'class-descriptions-boxable.csv')
        if class_file is not None:
            names = _read_names(str(root / class_file))
            return {**known, 'classes': tuple(dict.fromkeys(names.values()))}
        boxes, _ = _read_boxes(str(root / str(cfg.get('ann_file'))))
        return {**known, 'classes': tuple(sorted(boxes.codes)) or None}

    def load_records(self) -> FlatRecords:
        ann_file = str(Path(self.data_root) / self.ann_file)
        names = {} if self.class_file is None else _read_names(str(Path(self.data_root) / self.class_file))
        boxes, skipped = _read_boxes(ann_file)
        self.skipped += skipped
        code_names = [names.get(code, code) for code in boxes.codes]
        self.metainfo['classes'] = self.metainfo.get('classes') or tuple(
            dict.fromkeys(names.values()) if names else sorted(boxes.codes)
        )
        self._check_classes(code_names, names, ann_file)
        self._check_codes(boxes.codes, names, ann_file)
        paths, shapes, place_of = self._find_images(boxes.image_ids, ann_file)
        num_entries = len(boxes.images) + len(skipped) + len(boxes.image_ids)
        flat = self._select(boxes, code_names, place_of, paths, shapes, ann_file)
        check_skips(self.skipped, num_entries, self.max_skipped, ann_file)
        # Each is an image's id in the file, and no two images are taken for one.
        ids = [os.path.splitext(os.path.basename(path))[0] for path in paths]
        return FlatRecords(paths, ids, shapes, flat)

    def _check_codes(self, codes: Iterable[str], names: Mapping[str, str], ann_file: str) -> None:
        """Refuse two codes of one name; files of all classes have some, most of them without boxes."""
        first: dict[str, str] = {}
        for code in codes:
            name = names.get(code, code)
            if first.setdefault(name, code) != code:
                raise DataError(
                    f'{ann_file!r} has boxes of {first[name]!r} and {code!r}, which class_file='
                    f'{self.class_file!r} both calls {name!r}. Give one of them another name; class_map '
                    'merges them if they are one class'
                )

    def _check_classes(self, code_names: Sequence[str], names: Mapping[str, str], ann_file: str) -> None:
        known = set(code_names) | set(names.values())
        for name in () if self.single_class else self.metainfo['classes']:
            if name not in known:
                raise DataError(
                    f'the class {name!r} of metainfo is neither in {ann_file!r} nor in class_file='
                    f'{self.class_file!r}.{nearest(name, known)}{CLASSES_REMEDY}'
                )

    def _find_images(self, image_ids: dict[str, int], ann_file: str) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Return paths and shapes of the images that are there, and the index among them of each image of the file."""
        folder = str(Path(self.data_root) / self.images)
        if not os.path.isdir(folder):
            raise DataError(
                f'the image folder {folder!r} {absence(folder)}. Correct images (relative to '
                f'data_root={self.data_root!r}) in the config of the dataset.'
            )
        by_stem: dict[str, str] = {}
        for path in images_below(folder):
            first = by_stem.setdefault(os.path.splitext(os.path.basename(path))[0], path)
            if first != path:
                self.unused.append(Skip(path, None, 'an image of the same id as an earlier one'))
        wanted = [(number, by_stem[own_id]) for own_id, number in image_ids.items() if own_id in by_stem]
        if not wanted:
            raise DataError(
                f'none of the {len(image_ids)} images of {ann_file!r} is in {folder!r}, such as '
                f'{next(iter(image_ids), "")!r}.jpg. Correct images in the config of the dataset.'
            )
        rest = [path for own_id, path in by_stem.items() if own_id not in image_ids]
        self.unused += list_skips(rest, lambda path: (path, None), 'an image that no annotation names')
        self.unused += unread_images(folder)
        place_of, paths, shapes = np.full(len(image_ids), -1, np.int64), [], []
        for (number, path), size in zip(wanted, read_image_sizes([path for _, path in wanted]), strict=True):
            if isinstance(size, OSError):
                self.skipped.append(unreadable(path, size))
                continue
            place_of[number] = len(paths)
            paths.append(path)
            shapes.append(size)
        return paths, np.array(shapes, np.int64).reshape(-1, 2), place_of

    def _select(
        self,
        boxes: _Boxes,
        code_names: Sequence[str],
        place_of: np.ndarray,
        paths: Sequence[str],
        shapes: np.ndarray,
        ann_file: str,
    ) -> FlatAnnotations:
        """Return the boxes of the wanted classes in pixels, ordered by image, each once."""
        label_of = {name: label for label, name in enumerate(self.metainfo['classes'])}
        label_of_code = np.array([0 if self.single_class else label_of.get(name, -1) for name in code_names], np.int64)
        codes = np.frombuffer(boxes.labels, np.int64)
        images, labels = place_of[np.frombuffer(boxes.images, np.int64)], label_of_code[codes]
        groups = np.frombuffer(boxes.groups, np.int8) > 0
        here = images >= 0
        absent = len(here) - int(here.sum())
        if absent:
            self.unused.append(Skip(ann_file, None, 'a box of an image that is not in the folder', count=absent))
        counts = np.bincount(codes[here], minlength=len(code_names))
        others: Counter[str] = Counter()
        for name, label, count in zip(code_names, label_of_code, counts.tolist(), strict=True):
            if label < 0 and count:
                others[name] += count
        present = {name for name, count in zip(code_names, counts, strict=True) if count}
        self.note_other_classes(others, present, ann_file)
        shares = np.clip(np.frombuffer(boxes.sides, np.float32).reshape(-1, 4), 0, 1)
        flat = here & (labels >= 0) & ~(shares[:, 2:] > shares[:, :2]).all(1)
        self.skipped += list_skips(
            np.flatnonzero(flat).tolist(),
            lambda i: (ann_file, f'a box of {os.path.basename(paths[images[i]])}'),
            'no area inside the image',
        )
        keep = np.flatnonzero(here & (labels >= 0) & ~flat)
        kind = [('image', np.int64), ('code', np.int64), ('sides', np.float32, 4), ('group', bool)]
        rows = np.zeros(len(keep), kind)
        rows['image'], rows['code'], rows['sides'], rows['group'] = (
            images[keep],
            codes[keep],
            shares[keep],
            groups[keep],
        )
        _, first = np.unique(rows.view(np.dtype((np.void, rows.dtype.itemsize))), return_index=True)
        if len(first) < len(keep):
            self.unused.append(Skip(ann_file, None, 'the same as an earlier box', count=len(keep) - len(first)))
        rows = rows[np.sort(first)]
        rows = rows[np.argsort(rows['image'], kind='stable')]
        scale = shapes[rows['image']][:, [1, 0, 1, 0]]
        none = np.zeros(0, np.int64)
        return FlatAnnotations(
            images=rows['image'],
            labels=label_of_code[rows['code']],
            bboxes=rows['sides'] * scale,
            ring_owners=none,
            ring_sizes=none,
            points=np.zeros((0, 2)),
            ignored=rows['group'],
            areas=np.full(len(rows), np.nan),
        )


def _rows(path: str, what: str) -> Iterator[tuple[int, list[str] | None]]:
    """Yield the number of each row that is not blank and its values, None where it is no row of a csv."""
    with open_text(path, what) as file:
        reader = csv.reader(read_lines(file, path, what))
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error:
                row = None
            except UnicodeDecodeError as error:
                raise DataError(
                    f'the {what} {path!r} is no text in UTF-8: {error.reason}. Save it as UTF-8.'
                ) from error
            if row is None or any(row):
                yield reader.line_num, row


def _read_names(path: str) -> dict[str, str]:
    """Return the name of each class by its code; a first row 'LabelName,DisplayName' is a header.

    Raises:
        DataError: it is no such file.
    """
    names: dict[str, str] = {}
    try:
        rows = list(csv.reader(read_text(path, 'class file').splitlines()))
    except csv.Error as error:
        raise DataError(f'the class file {path!r} is no csv: {error}') from error
    for row in ([value.strip() for value in row] for row in rows):
        if not any(row) or row[0] == 'LabelName':
            continue
        if len(row) != 2 or not all(row):
            raise DataError(f'the class file {path!r} has the row {",".join(row)[:60]!r}, not a code and a name')
        if names.setdefault(row[0], row[1]) != row[1]:
            raise DataError(
                f'the class file {path!r} gives {row[0]!r} two names: {names[row[0]]!r} and {row[1]!r}'
                '; leave one of these lines out'
            )
    if not names:
        raise DataError(f'the class file {path!r} names no classes; a row is a code and a name: /m/011k07,Tortoise')
    return names


def _read_boxes(path: str) -> tuple[_Boxes, list[Skip]]:
    """Return the boxes of a csv, and the rows that hold none.

    Raises:
        DataError: it is no csv with the columns of boxes.
    """
    rows = _rows(path, 'annotation file')
    header = [value.strip() for value in next(rows, (0, None))[1] or ()]
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        raise DataError(
            f'the annotation file {path!r} has no column {", ".join(missing)} in its first row. Set ann_file to a csv '
            'of boxes of Open Images, such as train-annotations-bbox.csv.'
        )
    image, label, *sides = (header.index(name) for name in _COLUMNS)
    group = header.index('IsGroupOf') if 'IsGroupOf' in header else None
    boxes, skipped = _Boxes(), []
    for line, row in rows:
        try:
            values = [parse_float(row[side]) for side in sides]
            own_id, code = row[image].strip(), row[label].strip()
            group_flag = '0' if group is None else row[group].strip().lower()
        except (TypeError, ValueError, IndexError):
            skipped.append(Skip(path, line, 'a row without the numbers XMin, YMin, XMax, YMax'))
            continue
        if not own_id or not code:
            skipped.append(Skip(path, line, 'a row without ImageID or LabelName'))
        elif not all(abs(value) <= _MOST for value in values):
            skipped.append(Skip(path, line, 'coordinates that are no shares of the image, 0 to 1'))
        elif group_flag not in _FLAGS:
            skipped.append(Skip(path, line, f'IsGroupOf is {group_flag[:20]!r}, not 0 or 1', 'an IsGroupOf not 0 or 1'))
        else:
            boxes.images.append(boxes.image_ids.setdefault(own_id, len(boxes.image_ids)))
            boxes.labels.append(boxes.codes.setdefault(code, len(boxes.codes)))
            boxes.sides.extend(values)
            boxes.groups.append(_FLAGS[group_flag])
    return boxes, skipped
