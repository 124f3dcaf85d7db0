"""A handful of small pictures of rotated boxes, in the layouts that the configs read."""

from pathlib import Path

import cv2
import numpy as np

SIZE = 64
NAMES = ('plane', 'storage-tank')  # DOTA's numbers 0 and 2


def write_tiny_obb(root: Path, count: int = 2) -> Path:
    """Write ``obb`` (YOLO's label files, and a ``data.yaml``) and ``dota`` (DOTA's) into ``root``; returns ``root``.

    Every picture shows a bright and a dark rectangle, turned; the second one reaches beyond the picture.
    """
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        yolo = [root / 'obb' / kind / split for kind in ('images', 'labels')]
        dota = [root / 'dota' / split / kind for kind in ('images', 'labelTxt')]
        for folder in yolo + dota:
            folder.mkdir(parents=True)
        for number in range(count):
            image = rng.integers(90, 150, (SIZE, SIZE, 3), np.uint8)
            yolo_lines, dota_lines = [], ['imagesource:GoogleEarth', 'gsd:0.15']
            for label, (name, centre) in enumerate(zip(NAMES, ((26, 30), (56, 44)), strict=True)):
                box = (centre, (26.0 + number, 14.0), float(rng.integers(0, 180)))
                corners = cv2.boxPoints(box)
                cv2.fillPoly(image, [np.round(corners).astype(np.int32)], (230 if label else 20,) * 3)
                yolo_lines.append(' '.join([str(2 * label), *(f'{value / SIZE:.6f}' for value in corners.ravel())]))
                dota_lines.append(' '.join([*(f'{value:.1f}' for value in corners.ravel()), name, '0']))
            stem = f'P{number:04d}__{SIZE}__0___0'
            (yolo[1] / f'{stem}.txt').write_text('\n'.join(yolo_lines) + '\n')
            (dota[1] / f'{stem}.txt').write_text('\n'.join(dota_lines) + '\n')
            for folder in (yolo[0], dota[0]):
                cv2.imwrite(str(folder / f'{stem}.jpg'), image)
    (root / 'obb' / 'data.yaml').write_text(
        'train: images/train\nval: images/val\nnames: [plane, ship, storage tank]\n'
    )
    return root
