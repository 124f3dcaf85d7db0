"""Datasets in CrowdHuman's odgt form: one json a line, one line an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detkit.datasets.base import check_choice
from detkit.datasets.formats.shape_dataset import ListedImage, Listing, ShapeDataset
from detkit.datasets.formats.shapes import EntryError, Shape, number
from detkit.datasets.path_finder import PathFinder
from detkit.datasets.skips import Skip
from detkit.registry import DATASETS
from detkit.utils.errors import ConfigError, DataError
from detkit.utils.json_files import parse_json
from detkit.utils.text_files import read_text

__all__ = ['CrowdHumanDataset']

_SUFFIXES = ('.jpg', '.png', '.jpeg', '')
_HEAD = 'hbox'


@DATASETS.register_module()
class CrowdHumanDataset(ShapeDataset):
    """Images with a CrowdHuman odgt (https://www.crowdhuman.org), whose lines hold boxes of persons and of their heads.

    Regions with the tag 'mask' (groups, reflections, statues) and boxes that their ``extra``, or for heads their
    ``head_attr``, tells to ignore are ``ignored``. Boxes of whole bodies that reach beyond the image end at its border.

    Args:
        ann_file: the odgt, relative to ``data_root``.
        images: the folder of the images, ``<ID>.jpg``, relative to ``data_root``.
        box: which box to read: 'fbox' of the whole body, 'vbox' of its visible part, 'hbox' of the head. The class is
            'person', for heads 'head'.
        **kwargs: see ``DetDataset``.
    """

    def __init__(self, ann_file: str, images: str = 'Images', box: str = 'fbox', **kwargs: Any) -> None:
        check_choice('box', box, ('fbox', 'vbox', _HEAD))
        for name in {'keypoints', 'rotated', 'check_size'} & kwargs.keys():
            raise ConfigError(f'CrowdHumanDataset has no argument {name!r}: its files hold upright boxes alone')
        self.ann_file = ann_file
        self.box = box
        super().__init__(images, **kwargs)

    @classmethod
    def read_header(cls, cfg: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
        return ('head' if cfg.get('box') == _HEAD else 'person',), ()

    @property
    def source(self) -> str:
        return str(Path(self.data_root) / self.ann_file)

    def read_files(self) -> Listing:
        finder, found = PathFinder(self.image_folder), []
        lines = [
            line for line in enumerate(read_text(self.source, 'annotation file').split('\n'), 1) if line[1].strip()
        ]
        broken: list[Skip] = []
        for place, line in lines:
            where = f'line {place}'
            try:
                entry = parse_json(line, where)
                if not isinstance(entry, dict) or not isinstance(entry.get('gtboxes'), list) or not entry.get('ID'):
                    raise DataError("no mapping with 'ID' and the list 'gtboxes'")
            except DataError as error:
                broken.append(Skip(self.source, where, str(error), "a line that is no json with 'ID' and 'gtboxes'"))
                continue
            names = [f'{entry["ID"]}{suffix}' for suffix in _SUFFIXES]
            path = self.find_image(finder, names, self.source, where)
            if path is not None:
                found.append(ListedImage(path, self.source, entry['gtboxes'], where=where))
        if len(broken) == len(lines):
            reason = f': {broken[0].reason}' if broken else ''
            raise DataError(
                f"the annotation file {self.source!r} is no odgt of CrowdHuman's, one json a line with 'ID' and "
                f"'gtboxes'{reason}. Correct ann_file in the config of the dataset."
            )
        self.skipped += broken
        return Listing(found, *self.read_header(dict(box=self.box)))

    def read_shapes(self, image: ListedImage, shape: tuple[int, int]) -> list[Shape]:
        shapes = []
        for place, entry in enumerate(image.entry, 1):
            where = f'box {place}'
            with self.leaving_out(image, where):
                shapes.append(self._read_box(entry, where))
        return shapes

    def _read_box(self, entry: Any, where: str) -> Shape:
        if not isinstance(entry, dict) or not isinstance(entry.get('tag'), str):
            raise EntryError('a box that is no mapping with a tag')
        values = entry.get(self.box)
        if not isinstance(values, list) or len(values) != 4:
            raise EntryError(f'no list of 4 numbers {self.box!r}')
        x, y, w, h = map(number, values)
        if w <= 0 or h <= 0:
            raise EntryError(f'a width or height of {w:g}x{h:g}', 'a box without an area')
        is_mask = entry['tag'] == 'mask'
        attributes = [entry.get('extra'), entry.get('head_attr') if self.box == _HEAD else None]
        ignored = is_mask or any(isinstance(own, dict) and own.get('ignore') for own in attributes)
        name = 'head' if self.box == _HEAD else 'person' if is_mask else entry['tag']
        return Shape(name, where, (x, y, x + w, y + h), ignored=bool(ignored))
