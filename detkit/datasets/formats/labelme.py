"""Datasets in labelme's form: images, a json each."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

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
)
from detkit.datasets.image_files import HEADER_ERRORS, files_below, is_image_name, open_image
from detkit.datasets.path_finder import PathFinder
from detkit.datasets.skips import Skip
from detkit.registry import DATASETS
from detkit.utils.errors import DataError, absence
from detkit.utils.json_files import read_json

__all__ = ['LabelmeDataset']

# Shapes that enclose nothing.
_OPEN = ('line', 'linestrip', 'point', 'points')


@DATASETS.register_module()
class LabelmeDataset(ShapeDataset):
    """Images with one labelme json each (https://github.com/wkentaro/labelme).

    Polygons, rectangles, circles and bitmaps are read, and the rotated rectangles of X-AnyLabeling. Shapes of one label
    and one ``group_id`` are parts of one object. Objects flagged ``difficult``, which AnyLabeling writes, are
    ``ignored``. The image is the file that ``imagePath`` names, from the json's folder or from ``images``, or the one
    that is called as the json; pixels stored in the json (``imageData``) are not used.

    Args:
        annotations: the folder of the json files, relative to ``data_root``; folders in it count.
        images: the folder of the images, relative to ``data_root``, where they do not lie beside the json files; None:
            they do.
        rotated: objects are rotated boxes, the rectangle of least area around each outline or bitmap.
        check_size: leave out images that have another size than their json states.
        **kwargs: see ``DetDataset``.
    """

    def __init__(self, annotations: str = '', images: str | None = None, **kwargs: Any) -> None:
        self.annotations = annotations
        super().__init__(annotations if images is None else images, **kwargs)

    @classmethod
    def read_header(cls, cfg: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
        documents = _read_folder(Path(cfg.get('data_root') or '') / (cfg.get('annotations') or ''))[0]
        return _names_of(documents.values()), ()

    def read_files(self) -> Listing:
        documents, skipped = _read_folder(Path(self.data_root) / self.annotations)
        self.skipped += skipped
        by_folder: dict[str, PathFinder] = {}
        found = []
        for path, document in documents.items():
            parent, name = os.path.split(path)
            finder = by_folder.setdefault(parent, PathFinder(parent, self.image_folder))
            image = self._find_image(finder, document, os.path.splitext(name)[0], path)
            if image is not None:
                found.append(ListedImage(image, path, document, _stated_size(document)))
        return Listing(found, _names_of(documents.values()))

    def _find_image(self, finder: PathFinder, document: dict, stem: str, source: str) -> str | None:
        named = document.get('imagePath')
        if isinstance(named, str) and is_image_name(os.path.basename(named.replace('\\', '/'))):
            path = finder.find(named)
            if path is not None:
                return path
        for root in finder.roots:
            for name in sorted(os.listdir(root)) if os.path.isdir(root) else ():
                if os.path.splitext(name)[0] == stem and is_image_name(name):
                    return os.path.join(root, name)
        return self.find_image(finder, [str(named or stem)], source, None)

    def read_shapes(self, image: ListedImage, shape: tuple[int, int]) -> list[Shape]:
        groups: dict[tuple[str, str], Shape] = {}
        single = []
        for i, entry in enumerate(image.entry['shapes'], 1):
            where = f'shape {i}'
            with self.leaving_out(image, where):
                drawn = _read_shape(entry, where, shape)
                group = entry.get('group_id')
                if group is None:
                    single.append(drawn)
                else:
                    first = groups.setdefault((drawn.name, str(group)), drawn)
                    if first is not drawn:
                        join_shapes(first, drawn, shape)
        return [*single, *groups.values()]


def _read_folder(folder: Path) -> tuple[dict[str, dict], list[Skip]]:
    """Return the contents of the json files below a folder by path, and those that are no labelme files."""
    if not folder.is_dir():
        raise DataError(
            f'the folder {str(folder)!r} {absence(folder)}. Set annotations (relative to data_root) to the folder of '
            "labelme's json files."
        )
    paths = [path for path in files_below(folder) if path.lower().endswith('.json')]
    if not paths:
        raise DataError(
            f'there is no json file in {str(folder)!r}. Set annotations (relative to data_root) to the folder of '
            "labelme's json files."
        )
    documents, skipped = {}, []
    for path in paths:
        try:
            document = read_json(path)
            if not isinstance(document, dict) or not isinstance(document.get('shapes'), list):
                raise DataError(f"{path!r} is no labelme file: it has no list 'shapes'")
        except DataError as error:
            skipped.append(Skip(path, None, str(error), 'an annotation file that cannot be read'))
            continue
        document.pop('imageData', None)
        documents[path] = document
    if not documents:
        raise DataError(f'none of the {len(paths)} json files in {str(folder)!r} can be used: {skipped[0].reason}')
    return documents, skipped


def _names_of(documents: Sequence[dict]) -> tuple[str, ...]:
    """Return the labels of all shapes that enclose something, sorted."""
    return tuple(
        sorted(
            {
                entry['label'].strip()
                for document in documents
                for entry in document['shapes']
                if isinstance(entry, dict)
                and isinstance(entry.get('label'), str)
                and entry['label'].strip()
                and entry.get('shape_type') not in _OPEN
            }
        )
    )


def _stated_size(document: dict) -> tuple[int, int] | None:
    size = document.get('imageHeight'), document.get('imageWidth')
    return size if all(type(side) is int and side > 0 for side in size) else None


def _read_shape(entry: Any, where: str, size: tuple[int, int]) -> Shape:
    if not isinstance(entry, dict):
        raise EntryError('a shape that is no mapping')
    kind, name = entry.get('shape_type') or 'polygon', entry.get('label')
    if kind in _OPEN:
        raise EntryError(f'a {kind}, which encloses nothing', broken=False)
    if not isinstance(name, str) or not name.strip():
        raise EntryError(f'the label {str(name)[:40]!r} is no name', 'a label that is no name')
    flags = entry.get('flags')
    marks = [entry.get('difficult'), flags.get('difficult') if isinstance(flags, dict) else None]
    drawn = Shape(name.strip(), where, ignored=any(map(_is_set, marks)))
    if kind == 'rectangle':
        points = points_of(entry.get('points'), 2)  # two opposite corners, in some forks all four
        drawn.bbox = (*points.min(0).tolist(), *points.max(0).tolist())
    elif kind == 'circle':
        centre, edge = points_of(entry.get('points'), 2)[:2]
        radius = float(np.hypot(*(edge - centre)))
        drawn.rings = [ellipse_ring(*centre, radius, radius)]
    elif kind == 'mask':
        drawn.rle = _read_mask(entry, size)
    elif kind in ('polygon', 'rotation', 'quadrilateral', 'oriented_rectangle'):
        drawn.rings = [points_of(entry.get('points'))]
    else:
        raise EntryError(f'the shape_type {str(kind)[:40]!r}, which is not known', 'a shape_type that is not known')
    return drawn


def _is_set(flag: Any) -> bool:
    """Return a flag's value, which some programs write as text."""
    value = flag.strip().lower() if isinstance(flag, str) else flag
    if value in (True, 'true', '1', 'yes'):
        return True
    if value in (None, False, '', 'false', '0', 'no', 'none', 'null'):
        return False
    raise EntryError(f'difficult is {str(flag)[:40]!r}, not true or false', 'a difficult that is not true or false')


def _read_mask(entry: dict, size: tuple[int, int]) -> dict:
    """Return the RLE of a bitmap, which is stored as a PNG that begins at the first of the shape's two points."""
    points = points_of(entry.get('points'), 2)
    left, top = (int(round(number(value))) for value in points[:2].min(0).tolist())
    try:
        data = base64.b64decode(entry.get('mask'), validate=True)
        with open_image(BytesIO(data)) as image:
            # Its points enclose the bitmap, their last pixel included.
            width, height = (np.abs(points[1] - points[0]).round().astype(int) + 1).tolist()
            if abs(image.width - width) > 1 or abs(image.height - height) > 1:
                reason = f'a bitmap of {image.width}x{image.height} pixels between points that enclose {width}x{height}'
                raise EntryError(reason, 'a bitmap of another size than its points')
            if image.width * image.height > 4 * size[0] * size[1] + 64:
                raise EntryError('a bitmap that is larger than the image')
            check_canvas((image.height, image.width))
            crop = np.asarray(image.convert('L')) > 0
    except (OSError, TypeError, binascii.Error, *HEADER_ERRORS) as error:
        raise EntryError(f'a bitmap that cannot be read: {error}', 'a bitmap that cannot be read') from error
    return crop_to_rle(crop, left, top, size)
