"""Datasets in PASCAL VOC's form: images, an xml each, and lists of the images of each split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from detkit.datasets.base import DetDataset
from detkit.datasets.image_files import is_image_name, read_image_sizes, unread_images, unreadable
from detkit.datasets.path_finder import PathFinder
from detkit.datasets.skips import Skip, check_skips
from detkit.registry import DATASETS
from detkit.structures.annotations import Annotations, Record
from detkit.structures.bboxes import clip_bboxes
from detkit.utils.errors import ConfigError, DataError, nearest, working_folder
from detkit.utils.text_files import read_text
from detkit.utils.xml_files import read_xml

__all__ = ['VOCDataset']


@DATASETS.register_module()
class VOCDataset(DetDataset):
    """Images with one VOC xml each (https://host.robots.ox.ac.uk/pascal/VOC). Difficult objects are ``ignored``.

    ``metainfo['classes']`` chooses classes by name and gives their order; without it all classes found in the
    annotation folders are taken, in alphabetical order. Files and objects that break a rule are left out alone and
    listed in ``skipped``.

    Args:
        splits: lists of images in ``ImageSets/Main``, each with its folder before it, such as 'VOC2007/trainval', or
            several of them; the folders lie in ``data_root``. None: every annotation file in ``data_root`` counts.
        images: the folder of images, beside ``ImageSets``.
        annotations: the folder of xml files, beside ``ImageSets``; None: there are none (VOC's later test sets).
        one_based: the files count pixels from 1 and include the last one, as VOC's do: (1, 1, w, h) is the whole image.
            Otherwise their numbers are taken as they are, (0, 0, w, h) being the whole image.
        check_size: leave out images that have another size than their xml states, as a turned or exchanged image has.
        **kwargs: see ``DetDataset``.
    """

    def __init__(
        self,
        splits: str | Sequence[str] | None = None,
        images: str = 'JPEGImages',
        annotations: str | None = 'Annotations',
        one_based: bool = True,
        check_size: bool = True,
        **kwargs: Any,
    ) -> None:
        self.splits = (splits,) if isinstance(splits, str) else None if splits is None else tuple(splits)
        if self.splits == ():
            raise ConfigError(
                'splits of VOCDataset is empty; name a list of images, such as VOC2007/trainval, or give '
                'None to take all'
            )
        if self.splits is None and annotations is None:
            raise ConfigError(
                'VOCDataset with splits=None takes its images from the annotation files, but annotations '
                'is None; name a list of images in splits'
            )
        self.images = images
        self.annotations = annotations
        self.one_based = one_based
        self.check_size = check_size
        super().__init__(**kwargs)

    @classmethod
    def peek(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        known = super().peek(cfg)
        annotations, splits = cfg.get('annotations', 'Annotations'), cfg.get('splits')
        if known.get('classes') or annotations is None:
            return known
        root = Path(cfg.get('data_root') or '')
        splits = (splits,) if isinstance(splits, str) else splits
        homes = [root] if splits is None else [find_split(root, split)[0] for split in splits]
        folders = list(dict.fromkeys(home / annotations for home in homes))
        classes = discover_classes(folders)
        if not classes:
            missing = [folder for folder in folders if not folder.is_dir()]
            what = (
                f'there is no folder {str(missing[0])!r}' if missing else f'no xml in {str(folders[0])!r} has an object'
            )
            raise DataError(
                f'{what}{working_folder(root)}, whose files would name the classes; set data_root, and splits or '
                'annotations where the folder has another name'
            )
        return {**known, 'classes': classes}

    def load_records(self) -> list[Record]:
        self._objects: dict[str, VocObjects | DataError] = {}  # by path, so that no file is read twice
        listed = self._list_images()
        found = [entry for home, names in listed for entry in self._find_files(home, names)]
        if not self.metainfo.get('classes') and self.annotations is not None:
            folders = dict.fromkeys(home / self.annotations for home, _ in listed)
            files = [str(path) for folder in folders for path in annotation_files(folder)]
            self.metainfo['classes'] = names_of(map(self._read_objects, files))
        self._other_classes: Counter[str] = Counter()
        label_of = {name: label for label, name in enumerate(self.metainfo.get('classes') or ())}
        records, num_entries = [], len(found) + len(self.skipped)
        sizes = read_image_sizes([path for path, _, _ in found])
        for (path, xml, objects), shape in zip(found, sizes, strict=True):
            num_entries += len(objects.names) + len(objects.skipped)
            self.skipped += [Skip(xml, where, reason) for where, reason in objects.skipped]
            if isinstance(shape, OSError):
                self.skipped.append(unreadable(path, shape))
            elif self.check_size and objects.size not in (None, shape):
                (h, w), (stated_h, stated_w) = shape, objects.size
                self.skipped.append(
                    Skip(
                        path,
                        None,
                        f'it has {w}x{h} pixels, but {xml} states {stated_w}x{stated_h} '
                        '(check_size=False takes it nevertheless)',
                        'an image of another size than its xml states (check_size=False takes it nevertheless)',
                    )
                )
            else:
                stem = os.path.splitext(os.path.basename(path))[0]
                records.append(Record(path, stem, shape, self._annotations(objects, shape, label_of, xml)))
        check_skips(self.skipped, num_entries, self.max_skipped, self.data_root)
        if self._other_classes:
            present = {name for _, _, objects in found for name in objects.names}
            self._check_any(records, label_of)
            self.note_other_classes(self._other_classes, present, self.data_root)
        return records

    def _read_objects(self, xml: str) -> VocObjects | DataError:
        if xml not in self._objects:
            self._objects[xml] = _try_to_read(xml)
        return self._objects[xml]

    def _list_images(self) -> list[tuple[Path, list[str]]]:
        """Return for each split the folder that holds everything, and the names of its images."""
        if self.splits is None:
            folder = Path(self.data_root) / self.annotations
            names = [path.stem for path in annotation_files(folder)]
            if not names:
                raise DataError(
                    f'there is no annotation file (*.xml) in {str(folder)!r}. Correct annotations (below '
                    f'data_root={self.data_root!r}) in the config of the dataset.'
                )
            return [(Path(self.data_root), names)]
        homes = [find_split(self.data_root, split) for split in self.splits]
        return [(home, read_split(path)) for home, path in homes]

    def _find_files(self, home: Path, names: Sequence[str]) -> list[tuple[str, str, VocObjects]]:
        """Return image path, annotation path and objects of each image that has both files."""
        folder = home / self.images
        if not folder.is_dir():
            raise DataError(
                f'the image folder {str(folder)!r} does not exist. Correct images (relative to '
                f'{str(home)!r}) in the config of the dataset.'
            )
        present = {name for name in os.listdir(folder) if is_image_name(name)}
        by_stem = {os.path.splitext(name)[0]: name for name in sorted(present, reverse=True)}
        found, finder = [], PathFinder(folder)
        for name in names:
            xml, objects = '', VocObjects(np.zeros((0, 4)), [], np.zeros(0, bool), np.zeros(0, np.int64))
            if self.annotations is not None:
                xml = str(home / self.annotations / f'{name}.xml')
                objects = self._read_objects(xml)
                if isinstance(objects, DataError):
                    self.skipped.append(Skip(xml, None, str(objects), 'an annotation file that cannot be read'))
                    continue
            # Some tools name the image in the file alone.
            path = str(folder / by_stem[name]) if name in by_stem else finder.find(objects.filename)
            if path is None or not is_image_name(os.path.basename(path)):
                self.skipped.append(Skip(str(folder / name), None, 'there is no image of this name'))
            else:
                found.append((path, xml, objects))
        if self.splits is None:
            used = {path for path, _, _ in found}
            images = (str(folder / image) for image in sorted(present))
            self.unused += [
                Skip(path, None, 'an image without an annotation file') for path in images if path not in used
            ]
        self.unused += unread_images(folder)
        return found

    def _annotations(
        self, objects: VocObjects, shape: tuple[int, int], label_of: dict[str, int], xml: str
    ) -> Annotations:
        """Return the objects of the wanted classes that have an area inside the image."""
        bboxes = objects.bboxes - ([1, 1, 0, 0] if self.one_based else 0)
        bboxes = clip_bboxes(bboxes, (0, 0, shape[1], shape[0]))
        seen: set[tuple] = set()
        keep, labels = [], []
        for i, (name, number) in enumerate(zip(objects.names, objects.numbers, strict=True)):
            label = label_of.get(name, 0 if self.single_class else None)
            key = (name, *objects.bboxes[i].tolist())
            if label is None:
                self._other_classes[name] += 1
            elif not (bboxes[i, 2:] > bboxes[i, :2]).all():
                self.skipped.append(Skip(xml, f'object {number}', 'its box has no area inside the image'))
            elif key in seen:
                self.unused.append(Skip(xml, f'object {number}', 'the same as an earlier object'))
            else:
                seen.add(key)
                keep.append(i)
                labels.append(label)
        return Annotations(
            labels=np.array(labels, np.int64), bboxes=bboxes[keep].astype(np.float32), ignored=objects.difficult[keep]
        )

    def _check_any(self, records: Sequence[Record], label_of: dict[str, int]) -> None:
        if not any(len(record.annotations) for record in records):
            names = ', '.join(f'{name!r} ({count})' for name, count in self._other_classes.most_common(8))
            hint = nearest(next(iter(label_of), ''), self._other_classes)
            raise DataError(
                f'no object in {self.data_root!r} has one of the {len(label_of)} classes of metainfo, but '
                f'there are {names}.{hint}'
            )


_FLAGS = {'0': False, '1': True, 'false': False, 'true': True, 'unspecified': False}
_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


@dataclass
class VocObjects:
    """The contents of one annotation file.

    Attributes:
        bboxes: ``(N, 4)`` float64 xmin, ymin, xmax, ymax as written in the file.
        names: N class names.
        difficult: ``(N,)`` bool.
        numbers: ``(N,)`` int64, which object of the file each is, from 1.
        size: (h, w) that the file states for its image, or None.
        filename: the name of its image, '' where the file gives none.
        skipped: (object, reason) of those that were left out.
    """

    bboxes: np.ndarray
    names: list[str]
    difficult: np.ndarray
    numbers: np.ndarray
    size: tuple[int, int] | None = None
    filename: str = ''
    skipped: list[tuple[str, str]] = field(default_factory=list)


def read_voc_xml(path: str | os.PathLike) -> VocObjects:
    """Read one file; objects that break a rule are left out alone. Parts of objects (head, hand) are not read.

    Raises:
        DataError: the file is missing, or no annotation in VOC's form.
    """
    root = read_xml(path)
    if root.tag != 'annotation':
        raise DataError(f"{str(path)!r} is no annotation of VOC's form: its root is <{root.tag}>, not <annotation>")
    bboxes, names, difficult, numbers = [], [], [], []
    skipped: list[tuple[str, str]] = []
    for number, entry in enumerate(root.iterfind('object'), 1):
        name = (entry.findtext('name') or '').strip()
        corners = [entry.findtext(f'bndbox/{corner}') for corner in _CORNERS]
        hard = _FLAGS.get((entry.findtext('difficult') or '0').strip().lower())
        try:
            bbox = [float(value) for value in corners if value is not None]
        except ValueError:
            bbox = []
        if not name:
            problem = 'no <name>'
        elif len(bbox) != 4 or not np.isfinite(bbox).all():
            problem = f'its <bndbox> does not hold the numbers {", ".join(_CORNERS)}'
        elif hard is None:
            problem = f'<difficult> is {entry.findtext("difficult")!r}, but must be 0 or 1'
        else:
            bboxes.append(bbox)
            names.append(name)
            difficult.append(hard)
            numbers.append(number)
            continue
        skipped.append((f'object {number}', problem))
    return VocObjects(
        np.array(bboxes, np.float64).reshape(-1, 4),
        names,
        np.array(difficult, bool),
        np.array(numbers, np.int64),
        _stated_size(root),
        (root.findtext('filename') or '').strip(),
        skipped,
    )


def _stated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Return (h, w), unless the file leaves them out or, as some tools do, at 0."""
    try:
        size = tuple(int(float(root.findtext(f'size/{side}') or 0)) for side in ('height', 'width'))
    except (ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def find_split(root: str | os.PathLike, split: str) -> tuple[Path, Path]:
    """Return the folder that holds ``JPEGImages`` and ``Annotations``, and the list of the images of ``split``.

    Args:
        root: the folder of all data.
        split: the name of a list in ``ImageSets/Main``, with the folder before it: 'VOC2007/trainval' means
            ``VOC2007/ImageSets/Main/trainval.txt``.
    """
    folder, _, name = split.rpartition('/')
    home = Path(root) / folder
    return home, home / 'ImageSets' / 'Main' / f'{name}.txt'


def read_split(path: Path) -> list[str]:
    """Return the image names in a list; from a class's list (``cat_train.txt``) those that show it, difficult or not.

    Raises:
        DataError: the list is missing, is no text, or names no image.
    """
    try:
        lines = [line.split() for line in read_text(path, 'list of images').splitlines()]
    except DataError as error:
        there = sorted(file.stem for file in path.parent.glob('*.txt'))
        hint = f'; there are {", ".join(there[:8])}{", ..." if len(there) > 8 else ""}' if there else ''
        raise DataError(
            f"{error}{hint}. Correct splits in the dataset's config, such as 'VOC2007/trainval'."
        ) from error
    names = [words[0] for words in lines if words and (len(words) == 1 or words[1] != '-1')]
    if not names:
        raise DataError(f'the list {str(path)!r} names no image')
    return list(dict.fromkeys(names))


def annotation_files(folder: Path) -> list[Path]:
    """Return the annotation files directly in a folder, sorted; none where it is missing."""
    return sorted(path for path in folder.glob('*.xml') if not path.name.startswith('.'))


def discover_classes(folders: Iterable[Path]) -> tuple[str, ...]:
    """Return all class names in the annotation files of these folders, in alphabetical order.

    Files that cannot be read are left out: the dataset reports those that it uses.
    """
    return names_of(_try_to_read(path) for folder in dict.fromkeys(folders) for path in annotation_files(folder))


def names_of(files: Iterable[VocObjects | DataError]) -> tuple[str, ...]:
    """Return the class names in these files, in alphabetical order."""
    return tuple(sorted({name for objects in files if isinstance(objects, VocObjects) for name in objects.names}))


def _try_to_read(path: str | os.PathLike) -> VocObjects | DataError:
    try:
        return read_voc_xml(path)
    except DataError as error:
        return error
