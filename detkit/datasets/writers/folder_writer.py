"""Writing folders of images, one a class."""

from __future__ import annotations

from pathlib import Path

from detkit.datasets.writers.conversion_source import Source, Tally
from detkit.datasets.writers.new_folder import PlacedImages
from detkit.utils.errors import DataError
from detkit.utils.progress import track

__all__ = ['write_image_folder']


def write_image_folder(source: Source, folder: Path, images: str, tally: Tally) -> list[str]:
    """Write ``<split>/<class>/`` with the images of that class; a class without an image has no folder.

    Args:
        source: what to write, images of one class each.
        folder: where to.
        images: 'link' or 'copy', see ``new_folder.PlacedImages``.
        tally: counts what cannot be kept.

    Returns:
        a line a split for the user: how to read it.

    Raises:
        DataError: a class has a name that no folder can have.
    """
    classes = source.header.classes
    for name in classes:
        if not name.strip() or name.startswith('.') or '/' in name or '\\' in name or '\0' in name:
            raise DataError(f'no folder can have the class name {name!r}; rename the class in the source')
    for split in source.splits:
        placed: dict[int, PlacedImages] = {}
        for image in track(split, f'write {split.name}'):
            label = image.record.class_label
            if label not in placed:
                placed[label] = PlacedImages(folder / split.name / classes[label], images, tally)
            placed[label].put(image.record.img_path)
        for label in set(range(len(classes))) - placed.keys():
            tally.add('a class without an image', split.name, classes[label])
    first = source.splits[0].name
    return [f'{split.name}: folder={split.name} class_folder={first}' for split in source.splits]
