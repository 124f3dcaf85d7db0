"""Writing DOTA's text files: four corners a line."""

from __future__ import annotations

import os
from pathlib import Path

from detkit.datasets.formats.dota import class_key
from detkit.datasets.writers.conversion_source import Source, SourceImage, Tally
from detkit.datasets.writers.new_folder import PlacedImages
from detkit.datasets.writers.object_geometry import count_areas, count_unheld, object_corners
from detkit.structures.rotated_bboxes import corners_to_rbboxes
from detkit.utils.errors import DataError
from detkit.utils.progress import track

__all__ = ['write_dota']

# Decimals of a pixel; float32 has three for the coordinates of a large image.
_DIGITS = 6


def write_dota(source: Source, folder: Path, images: str, tally: Tally) -> list[str]:
    """Write ``<split>/images``, ``<split>/labelTxt`` and ``classes.txt``, the names of the classes in order.

    Objects without a rotated box get the corners of the least rectangle around their outline, or of their box. Objects
    that are not to be learnt are difficult.

    Args:
        source: what to write.
        folder: where to.
        images: 'link' or 'copy', see ``new_folder.PlacedImages``.
        tally: counts what cannot be kept.

    Returns:
        a line a split for the user: how to read it.

    Raises:
        DataError: two classes have names that are one in DOTA, where ' ', '-', '_' and upper case make no difference.
    """
    header = source.header
    names = _class_names(header.classes)
    (folder / 'classes.txt').write_text('\n'.join([*names, '']), encoding='utf-8')
    for split in source.splits:
        placed = PlacedImages(folder / split.name / 'images', images, tally)
        labels = folder / split.name / 'labelTxt'
        labels.mkdir()
        for image in track(split, f'write {split.name}'):
            name = placed.put(image.record.img_path)
            if name is None:
                continue
            stem = os.path.splitext(name)[0]
            text = ''.join(f'{line}\n' for line in _lines(image, names, tally))
            (labels / f'{stem}.txt').write_text(text, encoding='utf-8')
            if image.own_id and str(image.record.img_id) != stem:
                tally.add('an image id: images are known by their file names', image.record.img_path)
    if header.category_ids is not None:
        tally.add('a category id: classes are known by their names', 'classes.txt', count=len(names))
    classes = 'metainfo.classes=[the names in classes.txt]'
    return [
        f'{split.name}: images={split.name}/images labels={split.name}/labelTxt {classes}' for split in source.splits
    ]


def _class_names(classes: tuple[str, ...]) -> list[str]:
    seen: dict[str, str] = {}
    for name in classes:
        other = seen.setdefault(class_key(name), name)
        if other != name:
            raise DataError(f'the classes {other!r} and {name!r} are one in DOTA; rename one of them in the source')
        if not name.strip():
            raise DataError(f'the class name {name!r} cannot be written to a line of DOTA; rename it in the source')
    return ['-'.join(name.split()) for name in classes]


def _lines(image: SourceImage, names: list[str], tally: Tally) -> list[str]:
    """Return the lines of an image's label file, without those that repeat another."""
    own, path = image.record.annotations, image.record.img_path
    count_unheld(own, path, tally, keypoints=True)
    corners = object_corners(own, path, tally)
    count_areas(own, corners_to_rbboxes(corners)[:, 2:4].prod(1), path, tally)
    lines = []
    for label, values, hard in zip(own.labels, corners.reshape(-1, 8).round(_DIGITS), own.ignored, strict=True):
        numbers = ' '.join(repr(value).removesuffix('.0') for value in values.tolist())
        lines.append(f'{numbers} {names[label]} {int(hard)}')
    unique = list(dict.fromkeys(lines))
    if len(unique) < len(lines):
        tally.add("an object whose line is the same as another one's", path, count=len(lines) - len(unique))
    return unique
