"""Folders of images, one a class."""

from __future__ import annotations

import copy
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detkit.datasets.base import DetDataset
from detkit.datasets.image_files import IMAGE_SUFFIXES, files_below, is_image_name, unread_among
from detkit.datasets.records import PackedBytes, Records
from detkit.datasets.skips import Skip, check_skips
from detkit.registry import DATASETS
from detkit.structures.annotations import Annotations, Record
from detkit.utils.errors import ConfigError, DataError, nearest, working_folder

__all__ = ['ImageFolderDataset', 'class_folders']

# The number of names that an error lists.
_SHOWN = 5


@DATASETS.register_module()
class ImageFolderDataset(DetDataset):
    """Whole images of one class each: ``<data_root>/<folder>/<class>/**/*.jpg``.

    The images are ordered by turns, the first of every class, then the second of every class and so on, so that
    ``fraction`` keeps the classes' balance and the first images show all of them. Nothing is decoded, or read at all,
    before it is needed, as such sets may have a million images.

    In training every class must have an image. A validation set may lack some, but may have no folder that is none of
    the classes: labels would silently mean something else. Pictures of kinds that are not read are in ``unused``.

    Args:
        folder: the folder of this split, relative to ``data_root``: 'train', 'val', 'test'.
        class_folder: the folder whose subfolders name the classes, in sorted order, where ``metainfo`` has no
            ``classes``; default: ``folder`` itself. Give the training folder for the other splits.
        folders: the subfolders' names in the order of ``metainfo``'s classes, where they are not the classes' own.
        allow_empty: let a class have no training image.
        **kwargs: see ``DetDataset``.

    Raises:
        DataError: no folder, fewer than two classes, a training class without an image, or a folder that is no class.
    """

    def __init__(
        self,
        folder: str = 'train',
        class_folder: str | None = None,
        folders: Sequence[str] | None = None,
        allow_empty: bool = False,
        **kwargs: Any,
    ) -> None:
        self.folder = folder
        self.class_folder = class_folder
        self.folders = None if folders is None else tuple(folders)
        self.allow_empty = allow_empty
        if kwargs.get('single_class'):
            raise ConfigError(
                'ImageFolderDataset has no use for single_class=True: with one class for all images '
                'there is nothing to tell apart'
            )
        super().__init__(**kwargs)

    @classmethod
    def peek(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        known = super().peek(cfg)
        if known.get('classes'):
            return known
        key = 'class_folder' if cfg.get('class_folder') else 'folder'
        root, name = Path(cfg.get('data_root') or ''), cfg.get(key) or 'train'
        if not os.path.isdir(root / name):
            raise DataError(
                f'there is no {key} {name!r} in {str(root)!r}{working_folder(root)}, whose folders would name the '
                f'classes; set data_root{_look_deeper(root, name)}{_other_splits(root)}'
            )
        return {**known, 'classes': tuple(cfg.get('folders') or _read_classes(root / name))}

    def load_records(self) -> Records:
        root = Path(self.data_root, self.folder)
        names = self._folder_names()
        present = class_folders(root)
        self._check_folders(root, present, names)
        self._note_alike(root, names)
        if len(names) < 2:
            raise ConfigError(f'ImageFolderDataset has the class {names[0]!r} alone, but a classifier needs two')
        self.skipped += [Skip(str(path), None, 'lies in no class folder') for path in _loose_images(root)]
        paths = []
        for name in names:
            files = files_below(root / name)
            self.unused += unread_among(files)
            paths.append([os.path.relpath(path, root) for path in files if is_image_name(os.path.basename(path))])
        self._check_empty(root, names, paths)
        count = sum(map(len, paths))
        check_skips(self.skipped, count + len(self.skipped), self.max_skipped, str(root))
        return FolderRecords(str(root), paths)

    def _folder_names(self) -> tuple[str, ...]:
        """Return the class folders' names in the order of the labels; set the class names where none were given."""
        classes = self.metainfo.get('classes')
        if not classes:
            source = Path(self.data_root, self.class_folder or self.folder)
            classes = self.folders or _read_classes(source)
            self.metainfo['classes'] = tuple(classes)
        if len(set(classes)) < len(classes):
            twice = next(name for number, name in enumerate(classes) if name in classes[:number])
            raise ConfigError(f'metainfo.classes of ImageFolderDataset names {twice!r} twice; write each name once')
        if self.folders is not None and len(self.folders) != len(classes):
            raise ConfigError(
                f'ImageFolderDataset: {len(self.folders)} folders for {len(classes)} classes'
                '; write as many in folders as in metainfo.classes, in the same order'
            )
        return self.folders or tuple(classes)

    def _check_folders(self, root: Path, present: Sequence[str], names: Sequence[str]) -> None:
        known = set(names)
        strange = [name for name in present if name not in known]
        if strange:
            more = f' and {len(strange) - _SHOWN} more' if len(strange) > _SHOWN else ''
            raise DataError(
                f'{root} has the folder {", ".join(map(repr, strange[:_SHOWN]))}{more}, which is none of the '
                f'{len(names)} classes ({_shorten(names)}).{_alike(strange[0], names)} Rename or move it, or correct '
                'the classes.'
            )

    def _note_alike(self, root: Path, names: Sequence[str]) -> None:
        """List folders whose names hardly differ: two classes to a computer, perhaps one to who made them."""
        first: dict[str, str] = {}
        for name in names:
            other = first.setdefault(_spelling(name), name)
            if other != name:
                reason = f'a class of its own, though it differs from {other!r} in case, blanks or composition alone'
                kind = 'a class folder that differs from another in case, blanks or Unicode composition alone'
                self.unused.append(Skip(str(root / name), None, reason, kind))

    def _check_empty(self, root: Path, names: Sequence[str], paths: Sequence[Sequence[str]]) -> None:
        empty = [name for name, own in zip(names, paths, strict=True) if not own]
        if not empty or self.test_mode or self.allow_empty:
            return
        unread = f'; {len(self.unused)} pictures are of kinds that are not read' if self.unused else ''
        raise DataError(
            f'{len(empty)} of the {len(names)} classes have no image in {root}: {_shorten(empty)} '
            f'({", ".join(IMAGE_SUFFIXES)} count{unread}). Add images, take the class out, or set allow_empty=True.'
        )


def class_folders(folder: str | os.PathLike) -> list[str]:
    """Return the names of the subfolders, sorted; hidden ones, and what a Mac adds to archives, are left out.

    Raises:
        DataError: there is no such folder.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, 'strerror', None) or error
        above, name = os.path.split(os.fspath(folder))
        raise DataError(
            f'the image folder {os.fspath(folder)!r} cannot be read: {reason}{_look_deeper(Path(above), name)}'
            f'{_other_splits(Path(above))}'
        ) from error
    return sorted(name for name in names if not name.startswith('.') and name != '__MACOSX')


def _read_classes(folder: Path) -> list[str]:
    """Return the class folders in ``folder``.

    Raises:
        DataError: there are fewer than two, between which alone a classifier can tell.
    """
    names = class_folders(folder)
    if len(names) > 1:
        return names
    if not names:
        raise DataError(f'{str(folder)!r} has no class folder: images lie in {folder}/<class>/')
    inner = class_folders(folder / names[0])
    hint = f'. It holds the folders {_shorten(inner)}: if they are the classes, name it in the config' if inner else ''
    raise DataError(f'{str(folder)!r} has one class folder, {names[0]!r}, but a classifier needs two classes{hint}')


def _look_deeper(root: Path, name: str) -> str:
    """Return a hint at a folder one level deeper, where an archive was unpacked into a folder of its own."""
    if not os.path.isdir(root):
        return ''
    found = [inner for inner in class_folders(root) if name and os.path.isdir(root / inner / name)]
    return f'. There is {str(root / found[0] / name)!r}: set data_root to {str(root / found[0])!r}' if found else ''


def _other_splits(root: Path) -> str:
    """Return a hint at the folders beside one that is missing, which may be the splits under other names."""
    if not root.is_dir():
        return ''
    found = class_folders(root)
    return (
        f'. {str(root)!r} has the folders {_shorten(found)}: name the one of a split by folder of its dataset, '
        'in the configs by train_folder=... and val_folder=...'
        if found
        else ''
    )


def _alike(name: str, names: Sequence[str]) -> str:
    """Return a hint at the class that a folder may mean."""
    for other in names:
        if _spelling(other) == _spelling(name):
            return f' It differs from {other!r} in upper case, blanks or Unicode composition alone.'
    return nearest(name, names)


def _spelling(name: str) -> str:
    """Return a name without what is easily overlooked."""
    return ' '.join(unicodedata.normalize('NFC', name).casefold().split())


class FolderRecords(Records):
    """Images by class, a few bytes each; in turns over the classes.

    Args:
        root: the folder that the paths start from.
        paths: for each label the images' paths below ``root``.
    """

    def __init__(self, root: str, paths: Sequence[Sequence[str]]) -> None:
        counts = np.array([len(own) for own in paths], np.int64)
        self._labels = np.repeat(np.arange(len(paths)), counts)
        super().__init__(len(self._labels))
        turns = self.order - np.repeat(np.cumsum(counts) - counts, counts)
        self.order = np.lexsort((self._labels, turns))
        self._paths = PackedBytes(os.fsencode(path) for own in paths for path in own)
        self._root = root
        self._no_objects = Annotations()

    def make(self, number: int) -> Record:
        name = os.fsdecode(self._paths[number])
        return Record(
            os.path.join(self._root, name),
            Path(name).as_posix(),
            None,
            self._no_objects,
            class_label=int(self._labels[number]),
        )

    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(len(self)), self._labels[self.order]

    def paths(self) -> list[str]:
        return [os.path.join(self._root, os.fsdecode(self._paths[number])) for number in self.order]

    def with_labels(self, table: np.ndarray) -> FolderRecords:
        same = copy.copy(self)
        same._labels = table[self._labels]
        same.order = self.order[same._labels[self.order] >= 0]
        return same

    def count_lacking(self, need: str) -> tuple[int, int]:
        return (0, len(self)) if need == 'label' else (0, 0)

    def shapes(self) -> np.ndarray:
        return np.zeros((len(self), 2), np.int64)


def _loose_images(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_file() and is_image_name(path.name))


def _shorten(names: Sequence[str]) -> str:
    return ', '.join(names[:_SHOWN]) + (f', ... ({len(names) - _SHOWN} more)' if len(names) > _SHOWN else '')
