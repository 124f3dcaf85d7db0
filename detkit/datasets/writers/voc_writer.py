"""Writing PASCAL VOC's layout: an xml an image."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from detkit.datasets.writers.conversion_source import Source, SourceImage, Tally
from detkit.datasets.writers.new_folder import PlacedImages
from detkit.datasets.writers.object_geometry import count_areas, count_unheld
from detkit.structures.annotations import Annotations
from detkit.structures.bboxes import bbox_areas
from detkit.utils.errors import DataError
from detkit.utils.numbers import fewest_digits
from detkit.utils.progress import track

__all__ = ['write_voc']

_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
# Characters that no xml can hold, and blanks that its readers strip.
_NO_NAME = re.compile(r'[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]|^\s|\s$|^$')


def write_voc(source: Source, folder: Path, images: str, tally: Tally) -> list[str]:
    """Write ``JPEGImages``, ``Annotations`` and ``ImageSets/Main/<split>.txt``.

    Pixels count from 1, as VOC's do; a coordinate that is no whole number has as many decimals as the same float32
    value needs. Objects that are not to be learnt are ``difficult``.

    Args:
        source: what to write.
        folder: where to.
        images: 'link' or 'copy', see ``new_folder.PlacedImages``.
        tally: counts what cannot be kept.

    Returns:
        a line a split for the user: how to read it.

    Raises:
        DataError: a class has a name that an xml cannot hold.
    """
    header = source.header
    for name in header.classes:
        if _NO_NAME.search(name):
            raise DataError(f'the class name {name!r} cannot be written to an xml; rename the class in the source')
    placed = PlacedImages(folder / 'JPEGImages', images, tally, spaces=False)  # a list of images has one word a line
    (folder / 'Annotations').mkdir()
    (folder / 'ImageSets' / 'Main').mkdir(parents=True)
    present: set[int] = set()
    for split in source.splits:
        stems = []
        for image in track(split, f'write {split.name}'):
            shape = image.read_shape(tally)
            name = None if shape is None else placed.put(image.record.img_path)
            if name is None:
                continue
            stem = os.path.splitext(name)[0]
            stems.append(stem)
            own = _count_losses(image, stem, tally)
            present.update(own.labels.tolist())
            root = _annotation(own, name, shape, header.classes)
            ElementTree.indent(root)
            ElementTree.ElementTree(root).write(folder / 'Annotations' / f'{stem}.xml', encoding='utf-8')
        (folder / 'ImageSets' / 'Main' / f'{split.name}.txt').write_text('\n'.join([*stems, '']), encoding='utf-8')
    if header.category_ids is not None:
        tally.add('a category id: classes are known by their names', 'Annotations', count=len(header.classes))
    for label in set(range(len(header.classes))) - present:
        tally.add('a class without objects: classes are known by them alone', 'Annotations', header.classes[label])
    return [f'{split.name}: splits={split.name}' for split in source.splits]


def _count_losses(image: SourceImage, stem: str, tally: Tally) -> Annotations:
    """Return the objects to be written."""
    own, path = image.record.annotations, image.record.img_path
    count_unheld(own, path, tally, outlines=True, keypoints=True)
    count_areas(own, bbox_areas(own.bboxes), path, tally)
    if image.own_id and str(image.record.img_id) != stem:
        tally.add('an image id: images are known by their file names', path)
    return own


def _annotation(own: Annotations, name: str, shape: tuple[int, int], classes: tuple[str, ...]) -> ElementTree.Element:
    root = ElementTree.Element('annotation')
    _add(root, 'folder', 'JPEGImages')
    _add(root, 'filename', name)
    size = ElementTree.SubElement(root, 'size')
    for key, value in zip(('width', 'height', 'depth'), (*shape[::-1], 3), strict=True):
        _add(size, key, value)
    _add(root, 'segmented', 0)
    for label, bbox, difficult in zip(own.labels, _one_based(own.bboxes), own.ignored, strict=True):
        entry = ElementTree.SubElement(root, 'object')
        _add(entry, 'name', classes[label])
        _add(entry, 'pose', 'Unspecified')
        _add(entry, 'truncated', 0)
        _add(entry, 'difficult', int(difficult))
        corners = ElementTree.SubElement(entry, 'bndbox')
        for key, value in zip(_CORNERS, bbox.tolist(), strict=True):
            _add(corners, key, repr(value).removesuffix('.0'))
    return root


def _add(parent: ElementTree.Element, tag: str, text: object) -> None:
    ElementTree.SubElement(parent, tag).text = str(text)


def _one_based(bboxes: np.ndarray) -> np.ndarray:
    """Return float32 ``(N, 4)`` as xmin, ymin, xmax, ymax counted from 1, the last pixel included."""
    shift = np.array([1.0, 1, 0, 0])
    return fewest_digits(
        bboxes.astype(np.float64) + shift, lambda rounded: (rounded - shift).astype(np.float32) == bboxes
    )
