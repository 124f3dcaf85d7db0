"""A dataset in PASCAL VOC's layout, small."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIZE = 64


def object_xml(name: str, box: tuple, difficult: int | str | None = 0, more: str = '') -> str:
    """``box``: xmin, ymin, xmax, ymax, as they are to be written."""
    keys = ('xmin', 'ymin', 'xmax', 'ymax')[: len(box)]
    corners = ''.join(f'<{key}>{value}</{key}>' for key, value in zip(keys, box, strict=True))
    hard = '' if difficult is None else f'<difficult>{difficult}</difficult>'
    return f'<object><name>{name}</name><pose>Left</pose>{hard}<bndbox>{corners}</bndbox>{more}</object>'


def write_voc(
    home: Path,
    objects: dict[str, list[str]],
    splits: dict[str, list[str]] | None = None,
    size_wh: tuple[int, int] = (SIZE, SIZE),
    stated: str | None = None,
) -> Path:
    """Write ``JPEGImages``, ``Annotations`` and ``ImageSets`` into ``home``; returns ``home``.

    Args:
        objects: of each image, by name, what ``object_xml`` made.
        splits: the lists, by name.
        stated: in place of the size in the annotations.
    """
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (home / folder).mkdir(parents=True, exist_ok=True)
    width, height = size_wh
    size = f'<size><width>{width}</width><height>{height}</height><depth>3</depth></size>'
    for name, entries in objects.items():
        cv2.imwrite(str(home / 'JPEGImages' / f'{name}.jpg'), np.full((height, width, 3), 120, np.uint8))
        text = (
            f'<annotation><folder>{home.name}</folder><filename>{name}.jpg</filename>'
            f'{size if stated is None else stated}<segmented>0</segmented>{"".join(entries)}</annotation>'
        )
        (home / 'Annotations' / f'{name}.xml').write_text(text)
    for name, lines in (splits or {}).items():
        (home / 'ImageSets' / 'Main' / f'{name}.txt').write_text('\n'.join(lines) + '\n')
    return home


def write_tiny_voc(root: Path) -> Path:
    """VOC2007 and VOC2012 in ``root/voc``, two images a split; returns ``root``."""
    for year, splits in (('VOC2007', ('trainval', 'test')), ('VOC2012', ('trainval',))):
        names = {split: [f'{year[-4:]}_{split}{number}' for number in range(2)] for split in splits}
        objects = [object_xml('person', (5, 8, 40, 60)), object_xml('dog', (20, 30, 60, 55))]
        write_voc(root / 'voc' / year, {name: objects for own in names.values() for name in own}, names)
    return root
