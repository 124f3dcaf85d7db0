"""The label files of YOLO datasets: which file belongs to which image."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from detkit.datasets.path_finder import PathFinder
from detkit.utils.errors import DataError

# Text files that tools write beside labels, and that are none.
_NO_LABELS = ('classes', 'labels', 'notes', 'readme', 'train', 'val', 'test')


@dataclass
class LabelFiles:
    """The label files of some images.

    Attributes:
        of_images: each image's label file, None where it has none.
        strays: label files beside them that belong to no image, or to one that has another.
        shared: images whose label file is an earlier one's too, such as ``a.png`` beside ``a.jpg``.
    """

    of_images: list[str | None]
    strays: list[str]
    shared: list[str]


def find_label_files(image_paths: Sequence[str]) -> LabelFiles:
    """Return the label files of images.

    The labels of ``.../images/train/a.jpg`` are in ``.../labels/train/a.txt`` (the last folder called ``images`` of the
    path counts, in any case), or beside the image where there is no such folder. Where there is no file of exactly this
    name, one is taken that has it in another case or Unicode composition, URL-encoded (``%20``), or with the image's
    suffix (``a.jpg.txt``).

    Raises:
        DataError: none of the images has a label file, though there are some, or no folder where they could be.
    """
    images_in: dict[str, list[int]] = {}
    for number, path in enumerate(image_paths):
        images_in.setdefault(os.path.dirname(path), []).append(number)
    found = LabelFiles([None] * len(image_paths), [], [])
    looked = {parent: _labels_folder(parent) for parent in images_in}
    for parent, numbers in images_in.items():
        folder = looked[parent] or parent
        labels = [name for name in _list(folder) if _is_label_name(name)]
        files = {os.path.splitext(name)[0]: name for name in labels}
        names = [os.path.basename(image_paths[number]) for number in numbers]
        own: list[str | None] = [files.get(os.path.splitext(name)[0]) for name in names]
        left = set(labels) - set(own)
        if left:
            by_key = {_key(os.path.splitext(name)[0]): name for name in sorted(left)}
            for place, name in enumerate(names):
                if own[place] is None:
                    own[place] = by_key.pop(_key(os.path.splitext(name)[0]), None) or by_key.pop(_key(name), None)
            labelled = {name for name, file in zip(names, own, strict=True) if file is not None}
            strays = _without_image(parent, left - set(own), labelled)
            found.strays += [os.path.join(folder, name) for name in sorted(strays)]
        taken: set[str] = set()
        for number, name in zip(numbers, own, strict=True):
            found.of_images[number] = name and os.path.join(folder, name)
            if name in taken:
                found.shared.append(image_paths[number])
            elif name is not None:
                taken.add(name)
    if image_paths and not any(found.of_images):
        _refuse_none(image_paths, looked, found.strays)
    return found


def label_path(image_path: str) -> str:
    """Return where the label file of an image is, by the rules of ``find_label_files``, or would be."""
    folder, name = os.path.split(image_path)
    return os.path.join(_labels_folder(folder) or folder, f'{os.path.splitext(name)[0]}.txt')


def _refuse_none(image_paths: Sequence[str], looked: dict[str, str | None], strays: Sequence[str]) -> None:
    """Raise an error unless there is a folder for labels that holds none: then no image shows an object."""
    count = len(image_paths)
    if strays:
        raise DataError(
            f'none of the {len(strays)} label files has the name of one of the {count} images: {strays[0]!r} belongs '
            f'to no image, {image_paths[0]!r} has no label file. Name a label file as its image, with the suffix .txt.'
        )
    if not any(looked.values()):
        folders = ', '.join(map(repr, list(looked)[:5]))
        raise DataError(
            f'no label file was found for any of the {count} images in {folders}. Label files are looked for beside '
            'the images and, where a folder of the path is called images, in the same place below a folder called '
            'labels: .../images/train/a.jpg has .../labels/train/a.txt. If no image shows an object, make that folder, '
            'empty.'
        )


def _labels_folder(image_folder: str) -> str | None:
    """Return ``a/images/train`` -> ``a/labels/train``; None where there is no such folder."""
    parts = Path(image_folder).parts
    last = max((i for i, part in enumerate(parts) if part.casefold() == 'images'), default=None)
    if last is None:
        return None
    above, below = os.path.join('', *parts[:last]), os.path.join('labels', *parts[last + 1 :])
    expected = os.path.join(above, below)
    return expected if os.path.isdir(expected) else PathFinder(above).find_folder(below)


def _list(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f'the folder {folder!r} cannot be read: {error.strerror}') from error


def _is_label_name(name: str) -> bool:
    return name.lower().endswith('.txt') and not name.startswith('.')


def _without_image(image_folder: str, labels: set[str], labelled: set[str]) -> list[str]:
    """Return the label files that no picture in the folder is named after; a list may name a part of its images.

    Args:
        image_folder: the folder.
        labels: the names of the label files.
        labelled: the names of pictures that have another.
    """
    pictures = [name for name in _list(image_folder) if not _is_label_name(name) and name not in labelled]
    known = {_key(name) for name in pictures} | {_key(os.path.splitext(name)[0]) for name in pictures}
    known.update(_NO_LABELS)
    return [name for name in labels if _key(os.path.splitext(name)[0]) not in known]


def _key(name: str) -> str:
    return unicodedata.normalize('NFC', unquote(name)).casefold()
