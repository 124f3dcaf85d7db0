"""Datasets in PASCAL VOC's form: images, an xml each, and lists of the images of each split."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from detkit.datasets.base import DetDataset
from detkit.datasets.box_forms import BEYOND, reach_beyond
from detkit.datasets.class_names import CLASSES_REMEDY
from detkit.datasets.formats.voc_xml import VocObjects, names_of, try_to_read_voc_xml, without_area
from detkit.datasets.image_files import (
    files_below,
    has_image_suffix,
    image_folder_remedy,
    images_below,
    read_image_sizes,
    unread_images,
    unreadable,
    with_unique_ids,
)
from detkit.datasets.path_finder import PathFinder
from detkit.datasets.shares import ALL_SHARES, are_shares
from detkit.datasets.skips import MISSING_IMAGE, Skip, check_skips, list_skips
from detkit.registry import DATASETS
from detkit.structures.annotations import Annotations, Record
from detkit.structures.bboxes import clip_bboxes
from detkit.utils.errors import ConfigError, DataError, absence, nearest, working_folder
from detkit.utils.text_files import read_text

__all__ = ['VOCDataset']

_FROM_ZERO = 'a box that begins at pixel 0, though VOC counts from 1: one_based=False reads files that count from 0'


@dataclass
class VocFiles:
    """The files of one folder in VOC's form.

    Attributes:
        home: the folder that holds everything.
        folder: its folder of images.
        present: the images' paths in ``folder``.
        images: the same by name, which is the path without suffix.
        annotations: its folder of annotation files, None where there are none.
        xmls: the annotation files' paths by name.
    """

    home: Path
    folder: Path
    present: set[str]
    images: dict[str, str]
    annotations: Path | None
    xmls: dict[str, str]


class VocImage(NamedTuple):
    """An image and its annotation file.

    Attributes:
        path, xml: the two files; ``xml`` is '' where there are no annotation files.
        objects: the contents of ``xml``.
        has_own_name: whether the two have one name; else ``xml`` alone names the image.
    """

    path: str
    xml: str
    objects: VocObjects
    has_own_name: bool


@DATASETS.register_module()
class VOCDataset(DetDataset):
    """Images with one VOC xml each (https://host.robots.ox.ac.uk/pascal/VOC). Difficult objects are ``ignored``.

    ``metainfo['classes']`` chooses classes by name and gives their order; without it all classes found in the
    annotation folders are taken, in alphabetical order. Files and objects that break a rule are left out alone and
    listed in ``skipped``.

    Args:
        splits: lists of images in ``ImageSets/Main``, each with its folder before it, such as 'VOC2007/trainval', or
            several of them; the folders lie in ``data_root``. The list of a class (``cat_train``) has a second column:
            images with -1, which do not show it, are left out. None: every annotation file in ``data_root`` counts.
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
        files = [try_to_read_voc_xml(path) for folder in folders for path in annotation_files(folder).values()]
        classes = names_of(files)
        if not classes:
            broken = [error for error in files if isinstance(error, DataError)]
            if broken:
                raise DataError(
                    f'none of the {len(files)} xml files in {str(folders[0])!r} names a class; {len(broken)} cannot be '
                    f'read, the first because {broken[0]}'
                )
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
        found = self._take_once([entry for files, names in listed for entry in self._find_files(files, names)])
        if are_shares(np.concatenate([np.zeros((0, 4)), *(image.objects.bboxes for image in found)])):
            found = [image._replace(objects=image.objects.without_boxes(f'its box {ALL_SHARES}')) for image in found]
        if not self.metainfo.get('classes') and self.annotations is not None:
            self.metainfo['classes'] = self._find_classes([files for files, _ in listed])
        self._other_classes: Counter[str] = Counter()
        self._odd: dict[str, list[tuple[str, str]]] = {BEYOND: [], _FROM_ZERO: []}
        label_of = {name: label for label, name in enumerate(self.metainfo.get('classes') or ())}
        records, num_entries = [], len(found) + len(self.skipped)
        sizes = read_image_sizes([image.path for image in found])
        for (path, xml, objects, _), shape in zip(found, sizes, strict=True):
            num_entries += len(objects.names) + len(objects.skipped)
            self.skipped += [Skip(xml, where, reason) for where, reason in objects.skipped]
            self.unused += [Skip(xml, *note) for note in objects.notes]
            if isinstance(shape, OSError):
                self.skipped.append(unreadable(path, shape))
            elif self.check_size and objects.size not in (None, shape):
                self.skipped.append(_other_size(path, xml, shape, objects.size))
            else:
                stem = os.path.splitext(os.path.basename(path))[0]
                records.append(Record(path, stem, shape, self._annotations(objects, shape, label_of, xml)))
        check_skips(self.skipped, num_entries, self.max_skipped, self.data_root, self._correct_folder)
        for reason, places in self._odd.items():
            self.unused += list_skips(places, lambda place: place, reason)
        if self._other_classes:
            present = {name for image in found for name in image.objects.names}
            self._check_any(records, label_of)
            self.note_other_classes(self._other_classes, present, self.data_root)
        return with_unique_ids(records)

    def _correct_folder(self) -> str:
        """Return what to correct where most images do not exist."""
        missing = next(skip.path for skip in self.skipped if skip.kind == MISSING_IMAGE)
        return image_folder_remedy('images', self.data_root, missing)

    def _read_objects(self, xml: str) -> VocObjects | DataError:
        if xml not in self._objects:
            self._objects[xml] = try_to_read_voc_xml(xml)
        return self._objects[xml]

    def _find_classes(self, homes: Sequence[VocFiles]) -> tuple[str, ...]:
        """Return the classes of all annotation files of the folders; those that cannot be read are ``unused``."""
        paths = dict.fromkeys(path for files in homes for path in files.xmls.values())
        read = {path: self._read_objects(path) for path in paths}
        known = {skip.path for skip in self.skipped}
        kind = 'an annotation file of another split, from which class names would be read, that cannot be read'
        self.unused += [
            Skip(path, None, str(error), kind)
            for path, error in read.items()
            if isinstance(error, DataError) and path not in known
        ]
        return names_of(read.values())

    def _list_images(self) -> list[tuple[VocFiles, list[str]]]:
        """Return for each split the files of the folder that holds everything, and the names of its images."""
        if self.splits is None:
            files = self._find_home(Path(self.data_root))
            if not files.xmls:
                raise DataError(
                    f'there is no annotation file (*.xml) in {str(files.annotations)!r}. Correct annotations (below '
                    f'data_root={self.data_root!r}) in the config of the dataset.'
                )
            return [(files, list(files.xmls))]
        places = [find_split(self.data_root, split) for split in self.splits]
        homes = {home: self._find_home(home) for home in dict.fromkeys(home for home, _ in places)}
        listed = []
        for home, path in places:
            files = homes[home]
            names, absent = read_split(path, files.xmls.keys() | files.images.keys())
            reason = 'an image that a list marks with -1: it does not show the class'
            self.unused += list_skips(absent, lambda name, path=path: (str(path), name), reason)
            listed.append((files, names))
        return listed

    def _find_home(self, home: Path) -> VocFiles:
        """Return the files of a folder, none where its parts are missing; pictures of unread kinds are ``unused``."""
        folder, annotations = home / self.images, None if self.annotations is None else home / self.annotations
        present = {os.path.relpath(path, folder) for path in images_below(folder)}
        images = {os.path.splitext(name)[0]: name for name in sorted(present, reverse=True)}
        xmls = {} if annotations is None else annotation_files(annotations)
        self.unused += unread_images(folder)
        return VocFiles(home, folder, present, images, annotations, xmls)

    def _find_files(self, files: VocFiles, names: Sequence[str]) -> list[VocImage]:
        """Return each image that has both files."""
        folder = files.folder
        if not folder.is_dir():
            raise DataError(
                f'the image folder {str(folder)!r} {absence(folder)}. Correct images (relative to '
                f'{str(files.home)!r}) in the config of the dataset.'
            )
        found, finder = [], PathFinder(folder)
        for name in names:
            xml, objects = '', VocObjects(np.zeros((0, 4)), [], np.zeros(0, bool), np.zeros(0, np.int64))
            if files.annotations is not None:
                xml = files.xmls.get(name) or str(files.annotations / f'{name}.xml')
                objects = self._read_objects(xml)
                if isinstance(objects, DataError):
                    self.skipped.append(Skip(xml, None, str(objects), 'an annotation file that cannot be read'))
                    continue
            image = os.path.join(os.path.dirname(name), objects.filename)
            if image not in files.present or os.path.splitext(image)[0] != name:
                image = files.images.get(name)
            # Some tools name the image in the file alone.
            path = finder.find(objects.filename) if image is None else str(folder / image)
            if path is None or not has_image_suffix(path):
                self.skipped.append(Skip(str(folder / name), None, 'there is no image of this name', MISSING_IMAGE))
            else:
                found.append(VocImage(path, xml, objects, image is not None))
        if self.splits is None:
            used = {image.path for image in found} | {
                str(folder / files.images[name]) for name in files.xmls.keys() & files.images
            }
            images = (str(folder / image) for image in sorted(files.present))
            self.unused += [
                Skip(path, None, 'an image without an annotation file') for path in images if path not in used
            ]
        return found

    def _take_once(self, found: Sequence[VocImage]) -> list[VocImage]:
        """Return each image once, with the annotation file of its own name where several name it."""
        taken: dict[str, VocImage] = {}
        kind = 'an annotation file of an image that another one describes'
        for image in found:
            key = os.path.normpath(image.path)
            first = taken.setdefault(key, image)
            if first is image:
                continue
            if first.xml == image.xml:
                self.unused.append(Skip(image.path, None, 'an image that is listed again'))
                continue
            if image.has_own_name and not first.has_own_name:
                taken[key], image, first = image, first, image
            reason = f'it names the image {image.path}, which {first.xml} describes'
            self.skipped.append(Skip(image.xml, None, reason, kind))
        return list(taken.values())

    def _annotations(
        self, objects: VocObjects, shape: tuple[int, int], label_of: dict[str, int], xml: str
    ) -> Annotations:
        """Return the objects of the wanted classes that have an area inside the image."""
        bboxes = objects.bboxes - ([1, 1, 0, 0] if self.one_based else 0)
        beyond = reach_beyond(bboxes, np.array(shape[::-1]))
        bboxes = clip_bboxes(bboxes, (0, 0, shape[1], shape[0]))
        seen: set[tuple] = set()
        keep, labels = [], []
        for i, (name, number) in enumerate(zip(objects.names, objects.numbers, strict=True)):
            label = label_of.get(name, 0 if self.single_class else None)
            key = (name, *objects.bboxes[i].tolist())
            if label is None:
                self._other_classes[name] += 1
            elif not (bboxes[i, 2:] > bboxes[i, :2]).all():
                self.skipped.append(Skip(xml, f'object {number}', *without_area(objects.bboxes[i].tolist())))
            elif key in seen:
                self.unused.append(Skip(xml, f'object {number}', 'the same as an earlier object'))
            else:
                seen.add(key)
                keep.append(i)
                labels.append(label)
                if beyond[i]:
                    self._odd[BEYOND].append((xml, f'object {number}'))
                if self.one_based and ((objects.bboxes[i, :2] >= 0) & (objects.bboxes[i, :2] < 1)).any():
                    self._odd[_FROM_ZERO].append((xml, f'object {number}'))
        return Annotations(
            labels=np.array(labels, np.int64), bboxes=bboxes[keep].astype(np.float32), ignored=objects.difficult[keep]
        )

    def _check_any(self, records: Sequence[Record], label_of: dict[str, int]) -> None:
        if not any(len(record.annotations) for record in records):
            names = ', '.join(f'{name!r} ({count})' for name, count in self._other_classes.most_common(8))
            hint = nearest(next(iter(label_of), ''), self._other_classes)
            raise DataError(
                f'no object in {self.data_root!r} has one of the {len(label_of)} classes of metainfo, but '
                f'there are {names}.{hint}{CLASSES_REMEDY}'
            )


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


def read_split(path: Path, known: Container[str] = ()) -> tuple[list[str], list[str]]:
    """Return the image names in a list, and those that a list of a class (``cat_train.txt``) marks with -1.

    Args:
        path: the list.
        known: the names of the images that there are. A line that is one of them has no second column.

    Raises:
        DataError: the list is missing, is no text, or names no image.
    """
    try:
        lines = [line.strip().replace('\\', '/') for line in read_text(path, 'list of images').splitlines()]
    except DataError as error:
        there = sorted(file.stem for file in path.parent.glob('*.txt'))
        hint = f'; there are {", ".join(there[:8])}{", ..." if len(there) > 8 else ""}' if there else ''
        raise DataError(
            f"{error}{hint}. Correct splits in the dataset's config, such as 'VOC2007/trainval'."
        ) from error
    entries = [_read_line(line, known) for line in lines if line]
    names = [name for name, shown in entries if shown]
    if not names:
        raise DataError(f'the list {str(path)!r} names no image')
    return names, [name for name, shown in entries if not shown]


def _read_line(line: str, known: Container[str]) -> tuple[str, bool]:
    """Return the name in a line of a list, and whether the image shows the list's class, difficult or not."""
    if line in known:
        return line, True
    marked = re.fullmatch(r'(.*\S)\s+(-1|0|1)', line)
    if marked:
        return marked[1], marked[2] != '-1'
    first = line.split()[0]
    return first if first in known else line, True


def annotation_files(folder: Path) -> dict[str, str]:
    """Return the annotation files below a folder by name, the path in the folder without suffix; none if missing."""
    paths = (path for path in files_below(folder) if path.lower().endswith('.xml'))
    return {os.path.splitext(os.path.relpath(path, folder))[0]: path for path in paths}


def _other_size(path: str, xml: str, shape: tuple[int, int], stated: tuple[int, int]) -> Skip:
    (h, w), (stated_h, stated_w) = shape, stated
    return Skip(
        path,
        None,
        f'it has {w}x{h} pixels, but {xml} states {stated_w}x{stated_h} (check_size=False takes it nevertheless)',
        'an image of another size than its xml states (check_size=False takes it nevertheless)',
    )
