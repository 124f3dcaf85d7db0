"""Datasets in the form 'CVAT for images 1.1': one xml for all images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from detkit.datasets.formats.shape_dataset import ListedImage, Listing, ShapeDataset
from detkit.datasets.formats.shapes import (
    EntryError,
    Shape,
    check_canvas,
    crop_to_rle,
    ellipse_ring,
    join_shapes,
    number,
    points_of,
    turn,
)
from detkit.datasets.path_finder import PathFinder
from detkit.datasets.skips import Skip, list_skips
from detkit.registry import DATASETS
from detkit.utils.errors import ConfigError, DataError, nearest
from detkit.utils.numbers import parse_int
from detkit.utils.xml_files import XmlFile, read_xml

__all__ = ['CvatDataset']

# Elements of an image that are objects, and those that enclose nothing; labels may be of one kind alone.
_OBJECTS = ('box', 'polygon', 'ellipse', 'mask', 'skeleton')
_OTHERS = ('polyline', 'points', 'cuboid', 'tag')


@DATASETS.register_module()
class CvatDataset(ShapeDataset):
    """Images with an xml of 'CVAT for images 1.1' (https://docs.cvat.ai/docs/dataset_management/formats/format-cvat).

    Boxes, turned ones included, polygons, ellipses, masks and skeletons are read. The classes are those of the file's
    labels, in its order. A turned box has its four corners as outline. The points of a skeleton are its keypoints,
    hidden where they are ``occluded``, unlabelled where they are ``outside``, and its box is the one around them.
    Polygons, ellipses and masks of one label and one group (``group_id``) are parts of one object, as in CVAT's own
    exports to COCO, and an upright box among them is its box. Groups of boxes alone are objects of their own.

    Args:
        ann_file: the xml, relative to ``data_root``, or several.
        images: the folder of the images, relative to ``data_root``.
        image_subset: take the images of this subset of the project alone, such as 'Train'; None: all.
        keypoints: read the points of skeletons as keypoints.
        rotated: objects are rotated boxes, the rectangle of least area around each outline or bitmap.
        check_size: leave out images that have another size than the xml states.
        **kwargs: see ``DetDataset``.
    """

    def __init__(
        self, ann_file: str | Sequence[str] = 'annotations.xml', image_subset: str | None = None, **kwargs: Any
    ) -> None:
        self.ann_file = ann_file
        self.image_subset = image_subset
        if not ann_file:
            raise ConfigError('ann_file of CvatDataset is empty; name the xml, such as annotations.xml')
        super().__init__(**kwargs)

    @classmethod
    def read_header(cls, cfg: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
        files = _read_files(cfg.get('data_root') or '', cfg.get('ann_file') or 'annotations.xml')
        return _names_of([file.root for file in files.values()])

    def read_files(self) -> Listing:
        files = _read_files(self.data_root, self.ann_file)
        kind = 'a file in another encoding than it declares'
        self.unused += [Skip(path, None, file.note, kind) for path, file in files.items() if file.note]
        finder = PathFinder(self.image_folder)
        found, subsets = [], set()
        for path, (root, _) in files.items():
            self.unused += _others_beside_images(path, root)
            for place, element in enumerate(root.iterfind('image'), 1):
                subset, name = element.get('subset') or '', element.get('name') or ''
                subsets.add(subset)
                if self.image_subset is not None and subset != self.image_subset:
                    continue
                where = f'image {element.get("id") or place}'
                names = [f'{subset}/{name}', name] if subset else [name]
                image = self.find_image(finder, [own for own in names if name], path, where)
                if image is not None:
                    found.append(ListedImage(image, path, element, _stated_size(element), where))
        if self.image_subset is not None and self.image_subset not in subsets:
            names = ', '.join(map(repr, sorted(subsets))) or 'none'
            raise DataError(
                f'no image of {self.source!r} is of the subset {self.image_subset!r}; there are {names}.'
                f'{nearest(self.image_subset, subsets)}'
            )
        return Listing(found, *_names_of([file.root for file in files.values()]))

    @property
    def source(self) -> str:
        files = [self.ann_file] if isinstance(self.ann_file, str) else self.ann_file
        return ', '.join(str(Path(self.data_root) / file) for file in files)

    def read_shapes(self, image: ListedImage, shape: tuple[int, int]) -> list[Shape]:
        groups: dict[tuple[str, ...], list[Shape]] = {}
        for place, element in enumerate(image.entry, 1):
            if element.tag == 'attribute':  # of the image
                continue
            where = f'{element.tag} {place}'
            with self.leaving_out(image, where):
                drawn = _read_shape(element, where, shape)
                group = (element.get('group_id') or '0').strip()
                alone = group == '0' or element.tag == 'skeleton'
                groups.setdefault((where,) if alone else (drawn.name, group), []).append(drawn)
        shapes = []
        for members in groups.values():
            with self.leaving_out(image, members[0].where):
                shapes += _join_group(members, shape)
        return shapes


def _read_files(root: str, ann_file: str | Sequence[str]) -> dict[str, XmlFile]:
    """Return the files by their paths."""
    files = [ann_file] if isinstance(ann_file, str) else ann_file
    found = {}
    for path in (str(Path(root) / file) for file in files):
        found[path] = read_xml(path)
        element = found[path].root
        if element.tag != 'annotations':
            raise DataError(f"{path!r} is no file of CVAT's: its root is <{element.tag}>, not <annotations>")
        if element.find('image') is None:
            kind = 'has tracks of a video' if element.find('track') is not None else 'lists no image'
            raise DataError(f"{path!r} {kind}; export the task from CVAT as 'CVAT for images 1.1'")
    return found


def _others_beside_images(path: str, root: Element) -> list[Skip]:
    """Return an entry for what a file holds beside its images, by the kind of element."""
    others: dict[str, list[str]] = {}
    for place, element in enumerate(root, 1):
        if element.tag not in ('version', 'meta', 'image'):
            others.setdefault(element.tag, []).append(f'{element.tag[:40]} {element.get("id") or place}')
    skips = []
    for tag, names in others.items():
        reason = f'<{tag[:40]}> beside the images, which is not read'
        if tag == 'track':
            reason = "a track of a video, which is not read (export the task as 'CVAT for images 1.1')"
        skips += list_skips(names, lambda name: (path, name), reason)
    return skips


def _names_of(roots: Sequence[Element]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the labels that objects may have and those of skeletons' points, as declared, else as found."""
    classes, points = {}, {}
    for label in chain.from_iterable(root.iterfind('meta//labels/label') for root in roots):
        name, kind = (label.findtext('name') or '').strip(), (label.findtext('type') or '').strip()
        if label.find('parent') is not None:
            points[name] = None
        elif kind not in _OTHERS:
            classes[name] = None
    if not classes:
        images = list(chain.from_iterable(root.iterfind('image') for root in roots))
        classes = dict.fromkeys(
            sorted(
                {(element.get('label') or '').strip() for own in images for element in own if element.tag in _OBJECTS}
            )
        )
    if not points:
        found = (point.get('label') for root in roots for point in root.iterfind('image/skeleton/points'))
        points = dict.fromkeys((name or '').strip() for name in found)
    return [name for name in classes if name], [name for name in points if name]


def _stated_size(element: Element) -> tuple[int, int] | None:
    try:
        size = tuple(parse_int(element.get(side) or '0') for side in ('height', 'width'))
    except ValueError:
        return None
    return size if min(size) > 0 else None


def _read_shape(element: Element, where: str, size: tuple[int, int]) -> Shape:
    kind, name = element.tag, (element.get('label') or '').strip()
    if kind in _OTHERS:
        raise EntryError(f'a {kind}, which encloses nothing on the image', broken=False)
    if kind not in _OBJECTS:
        raise EntryError(f'<{kind[:40]}>, which is not known', 'an element that is not known')
    if not name:
        raise EntryError('no label')
    if element.get('outside') == '1':
        raise EntryError('an object outside the image, by its flag', broken=False)
    drawn = Shape(name, where)
    if kind == 'box':
        x0, y0, x1, y1 = _numbers(element, 'xtl', 'ytl', 'xbr', 'ybr')
        degrees = number(element.get('rotation') or 0)
        if degrees % 360:
            corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)
            drawn.rings = [turn(corners, ((x0 + x1) / 2, (y0 + y1) / 2), degrees)]
        else:
            drawn.bbox = (x0, y0, x1, y1)
    elif kind == 'polygon':
        drawn.rings = [_points(element)]
    elif kind == 'ellipse':
        cx, cy, rx, ry = _numbers(element, 'cx', 'cy', 'rx', 'ry')
        drawn.rings = [ellipse_ring(cx, cy, rx, ry, number(element.get('rotation') or 0))]
    elif kind == 'mask':
        drawn.rle = _read_mask(element, size)
    else:
        drawn.keypoints = _read_keypoints(element)
    return drawn


def _join_group(members: list[Shape], size: tuple[int, int]) -> list[Shape]:
    """Return the objects of an image of (h, w) that a group is: one where it has an outline, else each of its boxes."""
    outlined = [drawn for drawn in members if drawn.bbox is None]
    if not outlined or len(members) == 1:
        return members
    whole, *parts = outlined
    for part in parts:
        join_shapes(whole, part, size)
    boxes = np.array([drawn.hull() for drawn in members if drawn.bbox is not None]).reshape(-1, 4)
    if len(boxes):
        whole.bbox = (*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist())
    return [whole]


def _numbers(element: Element, *names: str) -> list[float]:
    return [number(element.get(name)) for name in names]


def _points(element: Element, least: int = 3) -> np.ndarray:
    """Return ``(K, 2)`` of the attribute points, ``x,y;x,y``."""
    return points_of([pair.split(',') for pair in (element.get('points') or '').split(';') if pair.strip()], least)


def _read_mask(element: Element, size: tuple[int, int]) -> dict:
    """Return the COCO RLE of a bitmap that is given as lengths of runs, background first, row by row."""
    left, top, width, height = (int(value) for value in _numbers(element, 'left', 'top', 'width', 'height'))
    if not (0 < width <= 2 * size[1] and 0 < height <= 2 * size[0]):
        raise EntryError(f'a mask of {width}x{height} pixels', 'a mask of another size than an image has')
    check_canvas((height, width))
    try:
        counts = np.array([parse_int(part) for part in (element.get('rle') or '').split(',')], np.int64)
    except (ValueError, OverflowError):
        counts = np.array([-1])
    # Each is compared alone: the sum of large ones would overflow.
    if ((counts < 0) | (counts > width * height)).any() or counts.sum() != width * height:
        raise EntryError(f'an rle that is not the lengths of {width * height} pixels', 'an rle of wrong lengths')
    values = np.arange(len(counts)) % 2 == 1
    return crop_to_rle(np.repeat(values, counts).reshape(height, width), left, top, size)


def _read_keypoints(element: Element) -> dict[str, tuple[float, float, float]]:
    keypoints = {}
    for point in element.iterfind('points'):
        name = (point.get('label') or '').strip()
        if not name or name in keypoints:
            raise EntryError(
                f'a skeleton with the point {name!r} twice or without a name', 'a skeleton of wrong points'
            )
        (x, y), *_ = _points(point, 1).tolist()
        hidden = point.get('occluded') == '1'
        keypoints[name] = (x, y, 0.0 if point.get('outside') == '1' else 1.0 if hidden else 2.0)
    if not any(visibility for _, _, visibility in keypoints.values()):
        raise EntryError('a skeleton none of whose points is inside the image', broken=False)
    return keypoints
