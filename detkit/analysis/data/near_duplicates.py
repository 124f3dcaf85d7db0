"""Groups of images of all splits that look the same, in any orientation, and how their labels differ."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from detkit.analysis.data.annotations_table import SplitTable
from detkit.analysis.data.image_hashes import ImageHashes, find_near_duplicates, hash_images
from detkit.analysis.data.orientations import ORIENTATION_NAMES, orient_bboxes
from detkit.analysis.errors.confusion import pair_up
from detkit.datasets.image_readers import read_own
from detkit.structures.bboxes import pairwise_iou
from detkit.utils.text_files import read_bytes

_LABEL_IOU = 0.5  # least overlap of a label and its copy in the other image
_NAMED_CLASSES = 4  # of a difference


@dataclass(frozen=True)
class NearDuplicates:
    """A group of images that look the same.

    Attributes:
        members: (index of the split, index of the image) of each.
        orientations: the orientation that takes the first image to each, see ``orientations``.
        identical: whether the files are the same, byte by byte.
        differences: how each image's labels differ from the first one's, turned like the image; '' where they agree.
    """

    members: tuple[tuple[int, int], ...]
    orientations: tuple[int, ...]
    identical: bool
    differences: tuple[str, ...]

    @property
    def splits(self) -> tuple[int, ...]:
        """Indices of the splits, ascending."""
        return tuple(sorted({split for split, _ in self.members}))

    @property
    def turned(self) -> str:
        """Names of the orientations that are not the first image's, '' if there are none."""
        return ', '.join(ORIENTATION_NAMES[number] for number in sorted(set(self.orientations) - {0}))

    @property
    def first_difference(self) -> int | None:
        """Index of the first member whose labels differ, None if all agree."""
        return next((index for index, text in enumerate(self.differences) if text), None)


def hash_splits(tables: Sequence[SplitTable]) -> ImageHashes:
    """Read and hash the images of all splits, one split after the other."""
    paths = [record.img_path for table in tables for record in table.records]
    shapes = [tuple(shape) for table in tables for shape in table.shapes.tolist()]
    return hash_images(paths, shapes)


def group_near_duplicates(
    tables: Sequence[SplitTable], hashes: ImageHashes, max_distance: int = 6
) -> list[NearDuplicates]:
    """Return the groups of images that look the same; a split may list an image twice, and two may share one.

    Args:
        tables: the splits.
        hashes: hashes of their images, see ``hash_splits``.
        max_distance: bits by which two hashes may differ.
    """
    members = [(split, image) for split, table in enumerate(tables) for image in range(len(table.records))]
    groups = []
    for group in find_near_duplicates(hashes, max_distance):
        own = tuple(members[index] for index in group.indices)
        orientations = tuple(group.orientations.tolist())
        same_file = len({_digest(tables[split].records[image].img_path) for split, image in own}) == 1
        differences = tuple(
            label_difference(tables, own[0], other, orientation)
            for other, orientation in zip(own, orientations, strict=True)
        )
        groups.append(NearDuplicates(own, orientations, same_file, differences))
    return groups


def label_difference(
    tables: Sequence[SplitTable], first: tuple[int, int], other: tuple[int, int], orientation: int
) -> str:
    """Return how the labels of an image differ from those of another that it is a copy of.

    Objects are the same if their boxes overlap by half once the first image's are turned like the image and both are
    relative to their images' sizes. Crowds and difficult objects are left out.

    Args:
        tables: the splits.
        first: (index of the split, index of the image) of the original.
        other: those of the copy.
        orientation: of the copy, see ``orientations``.

    Returns:
        A text such as 'missing: 2 dog; additional: cat; cow in place of horse', '' where the labels agree or the size
        of an image is not known.
    """
    names = tables[first[0]].classes
    if tables[first[0]].class_labels is not None:
        expected, found = (tables[split].class_labels[image] for split, image in (first, other))
        return '' if expected == found else f'{names[found]} in place of {names[expected]}'
    if any(0 in tables[split].shapes[image] for split, image in (first, other)):
        return ''
    expected_bboxes, expected = _relative_objects(tables, first)
    bboxes, labels = _relative_objects(tables, other)
    overlaps = pairwise_iou(bboxes, orient_bboxes(expected_bboxes, orientation))
    same_class = pair_up(overlaps * (labels[:, None] == expected), _LABEL_IOU)
    overlaps[same_class[:, 0]] = 0
    overlaps[:, same_class[:, 1]] = 0
    changed = pair_up(overlaps, _LABEL_IOU)
    paired = np.concatenate([same_class, changed])
    parts = []
    for what, left in (('missing', np.delete(expected, paired[:, 1])), ('additional', np.delete(labels, paired[:, 0]))):
        if len(left):
            parts.append(f'{what}: {_counted(names[label] for label in left)}')
    if len(changed):
        pairs = zip(labels[changed[:, 0]], expected[changed[:, 1]], strict=True)
        parts.append(_counted(f'{names[found]} in place of {names[label]}' for found, label in pairs))
    return '; '.join(parts)


def _relative_objects(tables: Sequence[SplitTable], member: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes ``(N, 4)`` relative to the image's size, and labels ``(N,)``."""
    table, image = tables[member[0]], member[1]
    start, stop = np.searchsorted(table.images, [image, image + 1])
    used = start + np.flatnonzero(~table.ignored[start:stop])
    return table.bboxes[used] / np.tile(table.shapes[image, ::-1], 2), table.labels[used]


def _counted(names: Iterable[str]) -> str:
    counts = Counter(names).most_common()
    parts = [name if count == 1 else f'{count} {name}' for name, count in counts[:_NAMED_CLASSES]]
    return ', '.join(parts) + ', …' * (len(counts) > _NAMED_CLASSES)


def _digest(path: str) -> str:
    own = read_own(path)
    return hashlib.sha256(read_bytes(path, 'image') if own is None else own).hexdigest()
