"""Small datasets written to a temporary folder."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, width: int, height: int, orientation: int | None = None) -> None:
    """A grey picture; ``orientation`` is put into its EXIF data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.full((height, width, 3), 120, np.uint8))
    options = {}
    if orientation is not None:
        exif = Image.Exif()
        exif[274] = orientation
        options['exif'] = exif
    image.save(path, **options)


def write_yolo(
    root: Path, labels: dict[str, str | None], split: str = 'train', size_wh: tuple[int, int] = (20, 10)
) -> Path:
    """Images ``<stem>.png`` and label files; None writes no label file."""
    (root / 'labels' / split).mkdir(parents=True, exist_ok=True)
    for stem, text in labels.items():
        write_image(root / 'images' / split / f'{stem}.png', *size_wh)
        if text is not None:
            (root / 'labels' / split / f'{stem}.txt').write_text(text)
    return root
