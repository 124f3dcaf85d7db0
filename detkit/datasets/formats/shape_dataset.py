"""Base of the formats in which an object is a class name and a shape drawn on the image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from detkit.datasets.base import DetDataset
from detkit.datasets.box_forms import BEYOND, KEYPOINT_OUT, keypoints_beyond, reach_beyond
from detkit.datasets.formats.shapes import EntryError, Shape, draw, rbboxes_of, rings_left
from detkit.datasets.image_files import (
    files_below,
    image_folder_remedy,
    is_image_name,
    read_image_sizes,
    unread_images,
    unreadable,
    with_unique_ids,
)
from detkit.datasets.path_finder import PathFinder
from detkit.datasets.skips import MISSING_IMAGE, Skip, check_skips, list_skips
from detkit.structures.annotations import Annotations, Record
from detkit.structures.bboxes import clip_bboxes
from detkit.utils.errors import DataError

__all__ = ['ListedImage', 'Listing', 'ShapeDataset']

_RING_OUTSIDE = 'a ring of an outline without an area inside the image: it is left out, the object is kept'


@dataclass
class ListedImage:
    """An image that the annotation files name.

    Attributes:
        path: the image's path.
        source: the annotation file.
        entry: what the file says of it; ``read_shapes`` takes it.
        size: (h, w) that the file states, or None.
        where: the entry in the file, None for all of it.
    """

    path: str
    source: str
    entry: Any
    size: tuple[int, int] | None = None
    where: str | None = None

    def place_of(self, where: str) -> str:
        """Return the place in the file of an object that the image's entry has at ``where``."""
        return where if self.where is None else f'{self.where}, {where}'


@dataclass
class Listing:
    """The images of a dataset's files.

    Attributes:
        images: those that are there.
        classes: the names of the classes that the files give.
        keypoint_names: the names of the keypoints, none where the files have none.
    """

    images: list[ListedImage]
    classes: Sequence[str]
    keypoint_names: Sequence[str] = ()


class ShapeDataset(DetDataset):
    """Base of datasets whose files name each object's class and draw its shape.

    A subclass lists the images in ``read_files`` and draws one's objects in ``read_shapes``. Without
    ``metainfo['classes']`` the classes are those that the files name. Objects that break a rule are left out
    alone and listed in ``skipped``.

    Args:
        images: the folder of the images, relative to ``data_root``.
        keypoints: read keypoints; their names are ``metainfo['keypoint_names']``, or those in the files.
        rotated: objects are rotated boxes: the rectangle of least area around each outline or bitmap, in place of it.
        check_size: leave out images that have another size than their annotation file states.
        **kwargs: see ``DetDataset``.
    """

    def __init__(
        self,
        images: str = '',
        keypoints: bool = False,
        rotated: bool = False,
        check_size: bool = True,
        **kwargs: Any,
    ) -> None:
        self.images = images
        self.keypoints = keypoints
        self.rotated = rotated
        self.check_size = check_size
        # Files and places of objects that reach beyond their images, and of those of which keypoints do.
        self._beyond: list[tuple[str, str]] = []
        self._keypoints_beyond: list[tuple[str, str]] = []
        self._missing = ''  # the name of the first image that does not exist
        super().__init__(**kwargs)

    @classmethod
    def peek(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        known = super().peek(cfg)
        names = known.get('keypoint_names')
        if not known.get('classes') or (cfg.get('keypoints') and not names):
            classes, found = cls.read_header(cfg)
            known['classes'] = known.get('classes') or tuple(classes) or None
            names = names or found
        if cfg.get('keypoints') and names:
            known['keypoint_shape'] = (len(names), 3)
        return known

    @classmethod
    def read_header(cls, cfg: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
        """Return the names of the classes and of the keypoints that the annotation files give.

        Args:
            cfg: the dataset's config.

        Raises:
            DataError: there is no such file, or it is of another kind.
        """
        raise NotImplementedError

    def read_files(self) -> Listing:
        """Read the annotation files; images that are not there are listed as ``skipped``."""
        raise NotImplementedError

    def read_shapes(self, image: ListedImage, shape: tuple[int, int]) -> list[Shape]:
        """Return the objects of an image of the size ``shape`` (h, w), broken ones left out by ``leaving_out``."""
        raise NotImplementedError

    def load_records(self) -> list[Record]:
        listing = self.read_files()
        images = self._leave_out_repeats(listing.images)
        classes = self.metainfo.get('classes') or tuple(listing.classes)
        self.metainfo['classes'] = classes
        if self.keypoints:
            self._describe_keypoints(self.metainfo.get('keypoint_names') or listing.keypoint_names)
        label_of = {name: label for label, name in enumerate(classes)}
        others: Counter[str] = Counter()
        present: set[str] = set()
        records, num_entries = [], len(images) + len(self.skipped)
        for image, shape in zip(images, read_image_sizes([image.path for image in images]), strict=True):
            if isinstance(shape, OSError):
                self.skipped.append(unreadable(image.path, shape))
                continue
            if self.check_size and image.size not in (None, shape):
                self.skipped.append(_other_size(image, shape))
                continue
            before = len(self.skipped)
            shapes = self.read_shapes(image, shape)
            num_entries += len(shapes) + len(self.skipped) - before
            present |= {drawn.name for drawn in shapes}
            wanted = [drawn for drawn in shapes if self.single_class or drawn.name in label_of]
            others.update(drawn.name for drawn in shapes if drawn.name not in label_of and not self.single_class)
            stem = os.path.splitext(os.path.basename(image.path))[0]
            records.append(Record(image.path, stem, shape, self._annotations(wanted, shape, label_of, image)))
        check_skips(self.skipped, num_entries, self.max_skipped, self.source, self._correct_folder)
        self.unused += list_skips(self._beyond, lambda place: place, BEYOND)
        self.unused += list_skips(self._keypoints_beyond, lambda place: place, KEYPOINT_OUT)
        self._note_unused_images(images)
        self.note_other_classes(others, present, self.source)
        return with_unique_ids(records)

    @property
    def image_folder(self) -> str:
        """The path of the folder of the images."""
        return os.path.join(self.data_root, self.images)

    @property
    def source(self) -> str:
        """The name of the annotation files in messages."""
        return self.data_root

    @contextmanager
    def leaving_out(self, image: ListedImage, where: str) -> Iterator[None]:
        """List the entry ``where`` of an image as left out when reading it raises ``EntryError``."""
        try:
            yield
        except EntryError as error:
            left_out = self.skipped if error.broken else self.unused
            left_out.append(Skip(image.source, image.place_of(where), error.reason, error.kind))

    def find_image(self, finder: PathFinder, names: Iterable[str], source: str, where: str | None) -> str | None:
        """Return the path of the first of ``names`` that there is; where there is none, list the image as skipped."""
        names = list(names)
        path = next((path for path in map(finder.find, names) if path is not None), None)
        if path is None:
            reason = (
                f'there is no image {names[0] if names else "(not named)"!r} in {", ".join(map(repr, finder.roots))}'
            )
            self.skipped.append(Skip(source, where, reason, MISSING_IMAGE))
            self._missing = self._missing or (names[0] if names else '')
        return path

    def _correct_folder(self) -> str:
        """Return what to correct where most images do not exist."""
        return image_folder_remedy('images', self.data_root, self._missing)

    def _describe_keypoints(self, names: Sequence[str]) -> None:
        if not names:
            raise DataError(f'{self.source!r} has no keypoints. Set keypoints=False in the config of the dataset.')
        self.metainfo['keypoint_names'] = tuple(names)
        self.describe_keypoints(len(names), self.source)

    def _leave_out_repeats(self, images: list[ListedImage]) -> list[ListedImage]:
        first: dict[str, ListedImage] = {}
        for image in images:
            if first.setdefault(os.path.realpath(image.path), image) is not image:
                reason = f'the image {image.path} once more'
                self.skipped.append(Skip(image.source, image.where, reason, 'the image of an earlier entry'))
        return list(first.values())

    def _note_unused_images(self, images: Sequence[ListedImage]) -> None:
        """List the pictures of the folder that no annotation file names as ``unused``."""
        used = {os.path.realpath(image.path) for image in images} | {skip.path for skip in self.skipped}
        rest = [
            path
            for path in files_below(self.image_folder)
            if is_image_name(os.path.basename(path)) and os.path.realpath(path) not in used
        ]
        self.unused += list_skips(rest, lambda path: (path, None), 'an image that no annotation names')
        self.unused += unread_images(self.image_folder)

    def _annotations(
        self, shapes: Sequence[Shape], shape: tuple[int, int], label_of: Mapping[str, int], image: ListedImage
    ) -> Annotations:
        """Return the objects that have an area inside the image, each once."""
        frame = (0, 0, shape[1], shape[0])
        bboxes = np.array([drawn.hull() for drawn in shapes], np.float32).reshape(-1, 4)
        beyond = reach_beyond(bboxes, np.array(shape[::-1])) & (not self.rotated)
        bboxes = clip_bboxes(bboxes, frame)
        left = rings_left(shapes, shape)
        kept, seen = [], set()
        for i, drawn in enumerate(shapes):
            outlined = bool(drawn.rings) and drawn.rle is None
            key = (drawn.name, *bboxes[i].tolist(), *(ring.tobytes() for ring in drawn.rings), str(drawn.rle))
            key += tuple(sorted(drawn.keypoints.items()))
            if not (bboxes[i, 2:] > bboxes[i, :2]).all() or (outlined and drawn.bbox is None and not left[i]):
                self.skipped.append(Skip(image.source, image.place_of(drawn.where), 'no area inside the image'))
            elif key in seen:
                self.unused.append(Skip(image.source, image.place_of(drawn.where), 'the same as an earlier object'))
            else:
                seen.add(key)
                kept.append(i)
                if outlined and left[i] < len(drawn.rings):
                    self.unused.append(Skip(image.source, image.place_of(drawn.where), _RING_OUTSIDE))
                elif beyond[i]:
                    self._beyond.append((image.source, image.place_of(drawn.where)))
        bboxes, shapes = bboxes[kept], [shapes[i] for i in kept]
        labels = np.array([0 if self.single_class else label_of[drawn.name] for drawn in shapes], np.int64)
        common = dict(
            labels=labels,
            bboxes=bboxes,
            ignored=np.array([drawn.ignored for drawn in shapes], bool),
            keypoints=self._keypoints(shapes, shape, image) if self.keypoints else None,
        )
        if self.rotated:
            rbboxes = rbboxes_of(shapes, bboxes)
            return Annotations(**common, rbboxes=rbboxes, areas=rbboxes[:, 2:4].prod(1))
        return Annotations(**common, **draw(shapes, bboxes, shape))

    def _keypoints(self, shapes: Sequence[Shape], shape: tuple[int, int], image: ListedImage) -> np.ndarray:
        """Return ``(N, K, 3)``; keypoints of unknown names are listed as skipped."""
        place = {name: number for number, name in enumerate(self.metainfo['keypoint_names'])}
        keypoints = np.zeros((len(shapes), len(place), 3), np.float32)
        for i, drawn in enumerate(shapes):
            for name, point in drawn.keypoints.items():
                if name in place:
                    keypoints[i, place[name]] = point
                else:
                    reason = f'the keypoint {name!r}, which metainfo.keypoint_names does not name'
                    kind = 'a keypoint that metainfo.keypoint_names does not name'
                    self.skipped.append(Skip(image.source, image.place_of(drawn.where), reason, kind))
        for i in np.flatnonzero(keypoints_beyond(keypoints, np.array(shape[::-1]))).tolist():
            self._keypoints_beyond.append((image.source, image.place_of(shapes[i].where)))
        return keypoints * (keypoints[..., 2:] > 0)


def _other_size(image: ListedImage, shape: tuple[int, int]) -> Skip:
    (h, w), (stated_h, stated_w) = shape, image.size
    return Skip(
        image.path,
        None,
        f'it has {w}x{h} pixels, but {image.source} states {stated_w}x{stated_h} (check_size=False takes it '
        'nevertheless)',
        'an image of another size than its annotation file states (check_size=False takes it nevertheless)',
    )
