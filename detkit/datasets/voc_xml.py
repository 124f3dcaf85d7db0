"""Reading PASCAL VOC's annotation files: one xml an image."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from detkit.utils.errors import DataError

_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


@dataclass
class VocObjects:
    """What one annotation file says.

    Attributes:
        bboxes: ``(N, 4)`` float64 xmin, ymin, xmax, ymax as they stand in the file.
        names: N class names.
        difficult: ``(N,)`` bool.
        numbers: ``(N,)`` int64, which object of the file each is, from 1.
        size: (h, w) that the file states for its image, or None.
        filename: of its image, '' where the file does not say.
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
    """Reads one file; objects that break a rule are left out alone. Parts of objects (head, hand) are not read.

    Raises:
        DataError: the file is missing, or no annotation in VOC's form.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError, UnicodeDecodeError, LookupError) as error:
        raise DataError(f'the annotation file {str(path)!r} cannot be read: {error}') from error
    if root.tag != 'annotation':
        raise DataError(f"{str(path)!r} is no annotation of VOC's form: its root is <{root.tag}>, not <annotation>")
    bboxes, names, difficult, numbers = [], [], [], []
    skipped: list[tuple[str, str]] = []
    for number, entry in enumerate(root.iterfind('object'), 1):
        name = (entry.findtext('name') or '').strip()
        corners = [entry.findtext(f'bndbox/{corner}') for corner in _CORNERS]
        hard = (entry.findtext('difficult') or '0').strip()
        try:
            bbox = [float(value) for value in corners if value is not None]
        except ValueError:
            bbox = []
        if not name:
            problem = 'no <name>'
        elif len(bbox) != 4 or not np.isfinite(bbox).all():
            problem = f'its <bndbox> does not hold the numbers {", ".join(_CORNERS)}'
        elif hard not in ('0', '1'):
            problem = f'<difficult> is {hard!r}, but must be 0 or 1'
        else:
            bboxes.append(bbox)
            names.append(name)
            difficult.append(hard == '1')
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
    """(h, w), unless the file leaves them out or, as some tools do, at 0."""
    try:
        size = tuple(int(float(root.findtext(f'size/{side}') or 0)) for side in ('height', 'width'))
    except (ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def find_split(root: str | os.PathLike, split: str) -> tuple[Path, Path]:
    """The folder that holds ``JPEGImages`` and ``Annotations``, and the list of the images of ``split``.

    Args:
        root: the folder of all data.
        split: the name of a list in ``ImageSets/Main``, with the folder before it: 'VOC2007/trainval' means
            ``VOC2007/ImageSets/Main/trainval.txt``.
    """
    folder, _, name = split.rpartition('/')
    home = Path(root) / folder
    return home, home / 'ImageSets' / 'Main' / f'{name}.txt'


def read_split(path: Path) -> list[str]:
    """The image names in a list. Of a class's own list (``cat_train.txt``) those that show the class, difficult or not.

    Raises:
        DataError: the list is missing, is no text, or names no image.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding='utf-8').splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        there = sorted(file.stem for file in path.parent.glob('*.txt'))
        hint = f'; there are {", ".join(there[:8])}{", ..." if len(there) > 8 else ""}' if there else ''
        raise DataError(
            f'the list of images {str(path)!r} cannot be read ({error}){hint}. Correct splits in the '
            "config of the dataset, such as 'VOC2007/trainval'."
        ) from error
    names = [words[0] for words in lines if words and (len(words) == 1 or words[1] != '-1')]
    if not names:
        raise DataError(f'the list {str(path)!r} names no image')
    return list(dict.fromkeys(names))


def annotation_files(folder: Path) -> list[Path]:
    """The annotation files directly in a folder, sorted; none where it is missing."""
    return sorted(path for path in folder.glob('*.xml') if not path.name.startswith('.'))


def discover_classes(folders: Iterable[Path]) -> tuple[str, ...]:
    """All class names in the annotation files of these folders, in alphabetical order.

    Files that cannot be read are left out: the dataset reports those that it uses.
    """
    names: set[str] = set()
    for folder in dict.fromkeys(folders):
        for path in annotation_files(folder):
            try:
                names.update(read_voc_xml(path).names)
            except DataError:
                continue
    return tuple(sorted(names))
