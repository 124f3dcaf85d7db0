"""The images that a COCO file lists: their ids, files and sizes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detkit.datasets.formats.coco_json import CocoImage, is_id, show
from detkit.datasets.image_files import read_image_sizes, unreadable
from detkit.datasets.path_finder import PathFinder
from detkit.datasets.skips import MISSING_IMAGE, Skip
from detkit.datasets.transforms.loading import size_mismatch
from detkit.utils.errors import DataError

__all__ = ['CocoImages', 'find_images', 'read_images']

# All stated sizes are compared with the files' where there are no more images than this, else those of a sample; of all
# again where the sample has one that is wrong.
_FEW_IMAGES = 4000
_SAMPLE = 400
_LARGEST_SIDE = 1 << 24


@dataclass
class CocoImages:
    """The usable images of a file, and the reasons why others are not.

    Attributes:
        ids: COCO's ids of the images.
        names: their ``file_name``; once they are found, the paths.
        shapes: (h, w) of each as the file states it, None where it states none.
        numbers: the index of the image of each id that objects may have.
        listed: all ids in the file, those of images that are not used included.
        skipped, unused: entries that were left out.
    """

    ids: list[int | float | str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    shapes: list[tuple[int, int] | None] = field(default_factory=list)
    numbers: dict[int | float | str, int] = field(default_factory=dict)
    listed: set[int | float | str] = field(default_factory=set)
    skipped: list[Skip] = field(default_factory=list)
    unused: list[Skip] = field(default_factory=list)

    def append(self, image_id: int | float | str, name: str, shape: tuple[int, int] | None) -> None:
        self.numbers[image_id] = len(self.ids)
        self.ids.append(image_id)
        self.names.append(name)
        self.shapes.append(shape)

    def shape_array(self) -> np.ndarray:
        """Return ``(I, 2)`` int64 (h, w)."""
        return np.array(self.shapes, np.int64).reshape(-1, 2)


def read_images(entries: Sequence[CocoImage | Any], ann_file: str) -> CocoImages:
    """Return the images that a file lists, in its order; repeated ids and entries without a name are dropped."""
    images = CocoImages()
    for entry in entries:
        if isinstance(entry, dict):
            entry = CocoImage(*(entry.get(key) for key in CocoImage.__struct_fields__))
        elif not isinstance(entry, CocoImage):
            entry = CocoImage()
        image_id, name = entry.id, entry.file_name
        shape = _stated_shape(entry)
        if not is_id(image_id) or not isinstance(name, str) or not name.strip():
            reason = 'no id or no file_name: the id is a number or text, the name is text'
            images.skipped.append(Skip(ann_file, f'image {show(image_id)}', reason))
        elif image_id not in images.numbers:
            images.append(image_id, name, shape)
        elif (name, shape) == (
            images.names[images.numbers[image_id]],
            images.shapes[images.numbers[image_id]],
        ):
            images.unused.append(Skip(ann_file, f'image {show(image_id)}', 'the same as an earlier image'))
        else:
            images.skipped.append(Skip(ann_file, f'image {show(image_id)}', 'the id of an earlier image'))
    images.listed = set(images.numbers)
    return images


def _stated_shape(entry: CocoImage) -> tuple[int, int] | None:
    """Return (h, w); None where it is left out, -1 (VIA), or anything but two whole numbers."""
    sides = (entry.height, entry.width)
    if type(sides[0]) is type(sides[1]) is int and 0 < min(sides) and max(sides) <= _LARGEST_SIDE:
        return sides
    for side in sides:
        number = isinstance(side, int | float) and not isinstance(side, bool)
        if not number or not 1 <= side <= _LARGEST_SIDE or side != int(side):
            return None
    return int(sides[0]), int(sides[1])


def find_images(images: CocoImages, folder: Path, ann_file: str) -> CocoImages:
    """Return the images that lie in the folder, with their paths, and their sizes where the file has none.

    An image that has another size than the file states is left out. A second id of a file stands for the first.

    Raises:
        DataError: the file lists no images.
    """
    if not images.ids:
        raise DataError(f'the annotation file {ann_file!r} lists no images')
    found = CocoImages(listed=images.listed, skipped=images.skipped, unused=images.unused)
    finder, first_ids, repeats = PathFinder(folder), {}, []
    for image_id, name, shape in zip(images.ids, images.names, images.shapes, strict=True):
        path = finder.find(name)
        if path is None:
            reason = f'the image {image_id} of {ann_file} does not exist'
            path = os.path.join(folder, name)
            found.skipped.append(Skip(path, None, reason, MISSING_IMAGE))
        elif (key := os.path.normpath(path)) in first_ids:
            repeats.append((image_id, first_ids[key]))
            reason = f'lists the file of image {first_ids[key]} again: its objects are added to that image'
            kind = 'an image that is listed under a second id: its objects are added to the first'
            found.unused.append(Skip(ann_file, f'image {image_id}', reason, kind))
        else:
            first_ids[key] = image_id
            found.append(image_id, path, shape)
    found = _with_sizes(found)
    found.numbers |= {other: found.numbers[first] for other, first in repeats if first in found.numbers}
    return found


def _with_sizes(images: CocoImages) -> CocoImages:
    """Return the images whose sizes can be read where they are not stated, and are right where they are compared."""
    count = len(images.ids)
    sizes: list[tuple[int, int] | OSError | None] = [None] * count
    few = range(0, count, 1 if count <= _FEW_IMAGES else count // _SAMPLE)
    _read_sizes(images.names, sizes, [i for i in range(count) if images.shapes[i] is None or i in few])
    if any(own is not None and own != stated for own, stated in zip(sizes, images.shapes, strict=True) if stated):
        _read_sizes(images.names, sizes, [i for i in range(count) if sizes[i] is None])
    pairs = zip(sizes, images.shapes, strict=True)
    if all(own is None or own == stated for own, stated in pairs) and None not in images.shapes:
        return images
    good = CocoImages(listed=images.listed, skipped=images.skipped, unused=images.unused)
    for image_id, path, stated, own in zip(images.ids, images.names, images.shapes, sizes, strict=True):
        if isinstance(own, OSError):
            good.skipped.append(unreadable(path, own))
        elif stated is not None and own is not None and own != stated:
            kind = 'an image of another size than its annotations state'
            good.skipped.append(Skip(path, None, size_mismatch(own, stated, path), kind))
        else:
            good.append(image_id, path, own or stated)
    return good


def _read_sizes(paths: Sequence[str], sizes: list, chosen: Sequence[int]) -> None:
    for i, size in zip(chosen, read_image_sizes([paths[i] for i in chosen]), strict=True):
        sizes[i] = size
