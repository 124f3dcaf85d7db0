"""The images of a dataset in flat arrays, from which a ``Record`` is made when it is asked for."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import overload

import numpy as np

from detkit.structures.annotations import Record

__all__ = ['PackedBytes', 'Records']


class PackedBytes(Sequence[bytes]):
    """Many byte strings in one, a few bytes more each than they are long.

    Args:
        items: the strings.
    """

    def __init__(self, items: Iterable[bytes]) -> None:
        items = list(items)
        self._ends = np.cumsum([0, *map(len, items)], dtype=np.int64)
        self._bytes = b''.join(items)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> bytes:
        return self._bytes[self._ends[index] : self._ends[index + 1]]


def _digest(parts: Iterable[np.ndarray | bytes]) -> str:
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part))
    return digest.hexdigest()


class Records(Sequence[Record]):
    """Base of the images of a dataset, which a subclass keeps in arrays.

    Python counts the references to an object inside it, so that processes that are forked copy all objects that they
    only look at. Arrays are shared for good.

    Args:
        count: the number of images.
    """

    def __init__(self, count: int) -> None:
        self.order = np.arange(count)

    def make(self, number: int) -> Record:
        """Return the record of one of the images that there were at first."""
        raise NotImplementedError

    def labelled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(N,)`` indices of images and ``(N,)`` labels: of each object, or image, that is to learn from."""
        raise NotImplementedError

    def paths(self) -> list[str]:
        """Return the paths of the images."""
        raise NotImplementedError

    def count_lacking(self, need: str) -> tuple[int, int]:
        """Count what lacks the annotations that a metric or a task needs, and all that could have them.

        Args:
            need: 'segm' for outlines or bitmaps, 'keypoints' for labelled ones, or 'rbbox', of each object to learn
                from; 'label' for the class of each whole image.
        """
        raise NotImplementedError

    def shapes(self) -> np.ndarray:
        """Return ``(I, 2)`` int64 (h, w) of the images, zeros where a size is not known."""
        raise NotImplementedError

    def with_one_class(self) -> Records:
        """Return the same images with the label 0 for all objects."""
        raise NotImplementedError

    def with_labels(self, table: np.ndarray) -> Records:
        """Return the images with other labels.

        Args:
            table: ``(num_classes,)`` int64, the new label of each; -1 leaves its objects out, and images that are of
                the class as a whole.
        """
        raise NotImplementedError

    def digests(self) -> tuple[str, str]:
        """Return digests of the images' names, in their order, and of what is annotated in them.

        The folders that the images are in do not count, so that a dataset may be moved.
        """
        names = '\n'.join(map(os.path.basename, self.paths()))
        return _digest([os.fsencode(names)]), _digest([self.shapes(), *self.labelled(), *self._objects_in_full()])

    def _objects_in_full(self) -> Iterable[np.ndarray | bytes]:
        """Yield all that is known of the objects."""
        return ()

    def count_labels(self, num_classes: int) -> np.ndarray:
        """Return ``(num_classes,)`` int64: how many objects, or images, of each class there are to learn from."""
        return np.bincount(self.labelled()[1], minlength=num_classes)

    def image_classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(P,)`` indices of images and ``(P,)`` labels: each class that an image shows, once."""
        images, labels = self.labelled()
        count = max(int(labels.max(initial=0)) + 1, 1)
        pairs = np.unique(images * count + labels)
        return pairs // count, pairs % count

    def indices_of(self, numbers: np.ndarray, count: int) -> np.ndarray:
        """Return the index of each of the images that there were at first, ``count``; -1 for those left out since."""
        indices = np.full(count, -1)
        indices[self.order] = np.arange(len(self.order))
        return indices[numbers]

    def select(self, indices: np.ndarray | slice) -> Records:
        """Return some of the images, in the order given; nothing is copied but their numbers."""
        part = copy.copy(self)
        part.order = self.order[indices]
        return part

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> Records: ...

    def __getitem__(self, index: int | slice) -> Record | Records:
        return self.select(index) if isinstance(index, slice) else self.make(int(self.order[index]))
