"""PASCAL VOC's annotation files: the objects that an xml holds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from xml.etree import ElementTree

import numpy as np

from detkit.utils.errors import DataError
from detkit.utils.numbers import parse_float
from detkit.utils.xml_files import read_xml

__all__ = ['VocObjects', 'names_of', 'read_voc_xml', 'try_to_read_voc_xml', 'without_area']

_FLAGS = {'0': False, '1': True, 'false': False, 'true': True, 'unspecified': False}
_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
# Elements that an object has once.
_SINGLE = ('name', 'difficult', 'bndbox', *(f'bndbox/{corner}' for corner in _CORNERS))
# Shapes that some programs write in place of a box.
_OTHER_SHAPES = ('polygon', 'robndbox', 'mask', 'points', 'circle', 'line')
# The elements of an annotation beside its objects.
_HEADERS = {'folder', 'filename', 'path', 'source', 'owner', 'size', 'segmented'}


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
        notes: (entry, reason, kind) of what is odd but breaks no rule; an entry of None means the whole file.
    """

    bboxes: np.ndarray
    names: list[str]
    difficult: np.ndarray
    numbers: np.ndarray
    size: tuple[int, int] | None = None
    filename: str = ''
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str | None, str, str]] = field(default_factory=list)

    def without_boxes(self, reason: str) -> VocObjects:
        """Return the same file with all its objects left out for one reason."""
        left_out = [*self.skipped, *((f'object {number}', reason) for number in self.numbers.tolist())]
        none = np.zeros(0, np.int64)
        return replace(self, bboxes=np.zeros((0, 4)), names=[], difficult=none > 0, numbers=none, skipped=left_out)


def read_voc_xml(path: str | os.PathLike) -> VocObjects:
    """Read one file; objects that break a rule are left out alone. Parts of objects (head, hand) are not read.

    Names of elements are compared without regard to case.

    Raises:
        DataError: the file is missing, or no annotation in VOC's form.
    """
    root, note = read_xml(path)
    for element in root.iter():
        element.tag = element.tag.lower()
    if root.tag != 'annotation':
        raise DataError(f"{str(path)!r} is no annotation of VOC's form: its root is <{root.tag}>, not <annotation>")
    bboxes, names, difficult, numbers = [], [], [], []
    skipped: list[tuple[str, str]] = []
    notes = [(None, note, 'a file in another encoding than it declares')] if note else []
    for number, entry in enumerate(root.iterfind('object'), 1):
        name = (entry.findtext('name') or '').strip()
        corners = [entry.findtext(f'bndbox/{corner}') for corner in _CORNERS]
        hard = _FLAGS.get((entry.findtext('difficult') or '0').strip().lower())
        try:
            bbox = [parse_float(value) for value in corners if value is not None]
        except ValueError:
            bbox = []
        if not name:
            problem = 'no <name>'
        elif len(bbox) != 4 or not np.isfinite(bbox).all():
            problem = f'its <bndbox> does not hold the numbers {", ".join(_CORNERS)}{_explain_corners(entry, corners)}'
        elif hard is None:
            problem = f'<difficult> is {entry.findtext("difficult")!r}, but must be 0 or 1'
        else:
            bboxes.append(bbox)
            names.append(name)
            difficult.append(hard)
            numbers.append(number)
            twice = next((tag for tag in _SINGLE if len(entry.findall(tag)) > 1), None)
            if twice is None:
                continue
            problem = f'a second <{twice.rpartition("/")[2]}> in an object, of which the first alone is read'
        skipped.append((f'object {number}', problem))
    _find_others(root, path, skipped, notes)
    return VocObjects(
        np.array(bboxes, np.float64).reshape(-1, 4),
        names,
        np.array(difficult, bool),
        np.array(numbers, np.int64),
        _stated_size(root),
        (root.findtext('filename') or '').strip(),
        skipped,
        notes,
    )


def _explain_corners(entry: ElementTree.Element, corners: Sequence[str | None]) -> str:
    """Return what an object has in place of the four numbers of a box."""
    if entry.find('bndbox') is None:
        others = [f'<{tag}>' for tag in _OTHER_SHAPES if entry.find(tag) is not None]
        return f'; it has {", ".join(others)}, which is not read' if others else '; it has none'
    for name, value in zip(_CORNERS, corners, strict=True):
        if value is None:
            return f'; <{name}> is missing'
        try:
            good = np.isfinite(parse_float(value))
        except ValueError:
            good = False
        if not good:
            comma = (
                ', with a decimal comma: write 0.5 in place of 0,5' if re.fullmatch(r'\s*-?\d*,\d+\s*', value) else ''
            )
            return f'; <{name}> is {value[:40]!r}{comma}'
    return ''


def _find_others(
    root: ElementTree.Element,
    path: str | os.PathLike,
    skipped: list[tuple[str, str]],
    notes: list[tuple[str | None, str, str]],
) -> None:
    """List boxes that are in no <object>, and other entries in place of objects.

    Raises:
        DataError: all boxes are elsewhere, so that the image would pass for one without objects.
    """
    others = [child for child in root if child.tag not in _HEADERS and child.tag != 'object']
    boxed = [child.tag for child in others if child.tag == 'bndbox' or child.find('.//bndbox') is not None]
    has_objects = root.find('object') is not None
    if boxed and not has_objects:
        raise DataError(
            f'the annotation file {os.fspath(path)!r} has its boxes in <{boxed[0]}>, not in <object> directly below '
            '<annotation>'
        )
    skipped += [(f'<{tag}>', 'a <bndbox> that is in no <object>') for tag in boxed]
    if others and not has_objects:
        tags = ', '.join(f'<{tag}>' for tag in list(dict.fromkeys(child.tag for child in others))[:5])
        kind = 'an annotation without any <object>, but with entries that VOC does not have: it counts as background'
        notes.append((None, f'no <object>, but {tags}: the image counts as background', kind))


def _stated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Return (h, w), unless the file leaves them out or, as some tools do, at 0."""
    try:
        size = tuple(int(parse_float(root.findtext(f'size/{side}') or '0')) for side in ('height', 'width'))
    except (ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def names_of(files: Iterable[VocObjects | DataError]) -> tuple[str, ...]:
    """Return the class names in these files, in alphabetical order."""
    return tuple(sorted({name for objects in files if isinstance(objects, VocObjects) for name in objects.names}))


def try_to_read_voc_xml(path: str | os.PathLike) -> VocObjects | DataError:
    """Return what ``read_voc_xml`` returns, or the error that it raises."""
    try:
        return read_voc_xml(path)
    except DataError as error:
        return error


def without_area(bbox: Sequence[float]) -> tuple[str, str]:
    """Return why a box without an area inside its image is left out: the reason with its numbers, and without."""
    x0, y0, x1, y1 = bbox
    kind = 'its box has no area inside the image'
    if x1 < x0 or y1 < y0:
        kind = 'its box has its corners exchanged: xmin, ymin must be the smaller ones'
    return f'{kind} ({x0:g}, {y0:g}, {x1:g}, {y1:g})', kind
