"""``convert_dataset``: the images and objects of any dataset, written in another format."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detkit.datasets.skips import Skip, skip_lines
from detkit.datasets.writers.coco_writer import write_coco
from detkit.datasets.writers.conversion_source import Source, Tally
from detkit.datasets.writers.dota_writer import write_dota
from detkit.datasets.writers.folder_writer import write_image_folder
from detkit.datasets.writers.new_folder import IMAGE_MODES, new_folder
from detkit.datasets.writers.voc_writer import write_voc
from detkit.datasets.writers.yolo_writer import YOLO_LABELS, write_yolo
from detkit.utils.errors import ConfigError, DataError, nearest
from detkit.utils.numbers import count_text

__all__ = ['WRITERS', 'Conversion', 'convert_dataset']

WRITERS: dict[str, Callable[..., list[str]]] = {
    'coco': write_coco,
    'yolo': write_yolo,
    'voc': write_voc,
    'dota': write_dota,
    'image_folder': write_image_folder,
}


@dataclass(frozen=True)
class Conversion:
    """The outcome of a conversion.

    Attributes:
        out: the folder that was written.
        to: the format.
        counts: by split, the numbers of images and objects of the source.
        unread: what the source's reader left out.
        lost: what the format, or its writer, cannot hold.
        usage: a line a split: how to read it.
    """

    out: Path
    to: str
    counts: dict[str, tuple[int, int]]
    unread: list[Skip]
    lost: list[Skip]
    usage: list[str]

    def lines(self) -> Iterator[str]:
        """Yield the report for a console: what was written, and a line a reason of what was not."""
        for split, (images, objects) in self.counts.items():
            yield f'{split}: {count_text(images, "image")} with {count_text(objects, "object")} read'
        for title, skips in (('left out by the reader', self.unread), (f'not kept by {self.to}', self.lost)):
            if skips:
                yield f'{title}:'
                yield from (f'  {line}' for line in skip_lines(skips))
        if not self.lost:
            yield f'{self.to} keeps all of it'
        yield f'written to {self.out}; to read it, data_root={self.out} and'
        yield from (f'  {line}' for line in self.usage)


def convert_dataset(
    datasets: Mapping[str, Any], out: str | Path, to: str, images: str = 'link', labels: str | None = None
) -> Conversion:
    """Write built datasets in another format.

    The folder appears when all of it is written. No image file is decoded. The datasets should be built with
    ``test_mode=True``, as some leave objects out in training, and without a pipeline.

    Args:
        datasets: by name of the split ('train', 'val', ...); they may be wrapped, repeated ones are written once.
        out: the folder to write, new or empty.
        to: the format, a key of ``WRITERS``.
        images: 'link' to make hard links, and copies where the file system makes none; 'copy'; 'leave' to leave them
            where they are, which COCO's json alone can do.
        labels: the content of YOLO's lines, see ``write_yolo``; None: what the objects have.

    Raises:
        ConfigError: an argument has a value that it cannot have.
        DataError: ``out`` is not empty or cannot be written, or the datasets are of a kind that the format cannot hold.
    """
    _check('to', to, WRITERS)
    _check('images', images, IMAGE_MODES)
    _check_splits(datasets)
    if images == 'leave' and to != 'coco':
        raise ConfigError(f'images=leave: {to} finds images by their folders; use link or copy')
    options = {}
    if labels is not None:
        _check('labels', labels, YOLO_LABELS)
        if to != 'yolo':
            raise ConfigError(f'labels={labels}: {to} has one kind of labels alone; leave it out')
        options['labels'] = labels
    tally = Tally()
    source = Source.of(datasets, tally)
    counts = {split.name: (len(split), split.count_objects(tally)) for split in source.splits}
    _check_kind(source, to)
    with new_folder(Path(out)) as folder:
        usage = WRITERS[to](source, folder, images, tally, **options)
    return Conversion(Path(out), to, counts, source.left_out, tally.skips(), usage)


def _check(name: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise ConfigError(f'{name}={value!r} is not one of {", ".join(choices)}.{nearest(value, choices)}')


def _check_splits(datasets: Mapping[str, Any]) -> None:
    if not datasets:
        raise ConfigError('there is no split to convert')
    for name in datasets:
        if not re.fullmatch(r'\w[\w.-]*', name):
            raise ConfigError(f'the split {name!r} becomes part of file names: letters, digits, "_", "." and "-" only')


def _check_kind(source: Source, to: str) -> None:
    """Refuse to write classes of whole images as objects, and the other way round."""
    for split in source.splits:
        classified = sum(image.record.class_label is not None for image in split)
        if to == 'image_folder' and classified < len(split):
            raise DataError(
                f'{split.name}: {len(split) - classified} images have objects, but image_folder needs a class each'
            )
        if to != 'image_folder' and classified:
            raise DataError(
                f'{split.name}: {classified} images have a class each and no objects; write them as image_folder'
            )
