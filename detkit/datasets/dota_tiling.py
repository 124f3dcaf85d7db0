"""Cutting DOTA's large images, and their labels, into tiles that a network takes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from detkit.datasets.formats.dota import DotaLabels, parse_dota_labels, read_dota_labels
from detkit.datasets.image_files import list_images
from detkit.datasets.skips import Skip
from detkit.datasets.transforms.loading import UnreadableImageError, read_image
from detkit.structures.polygons import Polygons
from detkit.structures.tile_grid import tile_rects
from detkit.utils.errors import ConfigError, DataError
from detkit.utils.progress import track

_FORMATS = {'jpg': [cv2.IMWRITE_JPEG_QUALITY, 95], 'png': []}


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image.

    Attributes:
        size: side of the tiles before they are cut to the image; part of the name.
        rect: (x0, y0, x1, y1) in pixels of the image.
    """

    size: int
    rect: tuple[int, int, int, int]

    def name(self, image: str) -> str:
        """``P0000__1024__824___0``: image, size, x and y of the top left corner."""
        return f'{image}__{self.size}__{self.rect[0]}___{self.rect[1]}'


@dataclass
class TilingReport:
    """The outcome of a tiling.

    Attributes:
        images, tiles, objects: how many were read, written, and written with their tiles (an object may be in several).
        cut: how many of the written objects show too little of themselves and were marked difficult.
        skipped: what was left out.
    """

    images: int = 0
    tiles: int = 0
    objects: int = 0
    cut: int = 0
    skipped: list[Skip] = field(default_factory=list)


def tiles_of(shape: tuple[int, int], sizes: Sequence[int], overlaps: Sequence[int]) -> list[Tile]:
    """Return the tiles of an image of (h, w), of each of the sizes."""
    return [
        Tile(size, rect)
        for size, overlap in zip(sizes, overlaps, strict=True)
        for rect in tile_rects(shape, (size, size), (overlap, overlap))
    ]


def cut_labels(labels: DotaLabels, rect: tuple[int, int, int, int], min_visible: float) -> tuple[list[str], int]:
    """Return the label lines of a tile, corners in its pixels.

    Objects that the tile cuts keep their corners, also those outside, so that angles stay. Objects of which less than
    ``min_visible`` shows are marked difficult (2): neither learnt nor asked for.

    Returns:
        the lines, and how many objects were marked so.
    """
    count = len(labels.corners)
    quads = Polygons(labels.corners.reshape(-1, 2), np.full(count, 4), np.arange(count))
    areas, visible = quads.areas(count), quads.clip(rect).areas(count)
    ratios = np.divide(visible, areas, out=np.zeros(count), where=areas > 0)
    lines, cut = [], 0
    for i in np.flatnonzero(ratios > 0):
        corners = ' '.join(f'{value:.1f}' for value in (labels.corners[i] - rect[:2]).ravel())
        hard = int(labels.difficult[i])
        if ratios[i] < min_visible and not hard:
            hard, cut = 2, cut + 1
        lines.append(f'{corners} {labels.names[i].replace(" ", "-")} {hard}')
    return lines, cut


def tile_dota(
    source: str | Path,
    target: str | Path,
    size: int | Sequence[int] = 1024,
    overlap: float = 200 / 1024,
    min_visible: float = 0.7,
    keep_empty: bool = True,
    image_format: str = 'jpg',
    images: str = 'images',
    labels: str = 'labelTxt',
    num_threads: int = 4,
) -> TilingReport:
    """Cut a part of DOTA, ``images/*`` and ``labelTxt/*.txt`` (none for a test set), into one of the same layout.

    Images smaller than a tile are kept whole. Names say where a tile lies, so that predictions can be merged.

    Args:
        source: folder with the two folders.
        target: folder to write to, made where it is missing; it must hold no images yet.
        size: side of the tiles; several: tiles of each size, which shows objects at several scales.
        overlap: shared by neighbouring tiles, a share of the size. Objects smaller than it are whole in some tile.
        min_visible: see ``cut_labels``.
        keep_empty: also write tiles that show no object.
        image_format: 'jpg' or 'png'.
        images, labels: names of the two folders.
        num_threads: images worked on at a time.

    Raises:
        ConfigError: a size, a share, a format or a number of threads that cannot be.
        DataError: no image in ``source``, label files in another folder than ``labels``, images already in ``target``,
            or it cannot be written to.
    """
    sizes = [size] if isinstance(size, int) else list(size)
    if not sizes or min(sizes) < 32:
        raise ConfigError(f'the tile size is {size}, but must be at least 32')
    if not 0 <= overlap < 1:
        raise ConfigError(f'overlap is {overlap}, but must be a share of the size in [0, 1)')
    if image_format not in _FORMATS:
        raise ConfigError(f'image_format is {image_format!r}, but must be one of {", ".join(_FORMATS)}')
    if not 0 <= min_visible <= 1:
        raise ConfigError(f'min_visible is {min_visible}, but must be a share of the object from 0 to 1')
    if num_threads < 1:
        raise ConfigError(f'num_threads is {num_threads}, but must be at least 1')
    source, target = Path(source), Path(target)
    paths = list_images(source / images)
    label_folder = source / labels
    _check_labels(source, labels, paths)
    if (target / images).is_dir() and any((target / images).iterdir()):
        raise DataError(f'{str(target / images)!r} holds files already; choose another folder, or empty it')
    job = _Job(
        target, images, labels, sizes, [round(side * overlap) for side in sizes], min_visible, keep_empty, image_format
    )
    try:
        (target / images).mkdir(parents=True, exist_ok=True)
        if label_folder.is_dir():
            (target / labels).mkdir(parents=True, exist_ok=True)
        report = TilingReport()
        with ThreadPoolExecutor(num_threads) as pool:
            for done in track(pool.map(lambda path: job.run(path, label_folder), paths), 'cut images', len(paths)):
                report.images += done.images
                report.tiles += done.tiles
                report.objects += done.objects
                report.cut += done.cut
                report.skipped += done.skipped
    except OSError as error:
        raise DataError(f'the tiles cannot be written to {str(target)!r}: {error}') from error
    return report


def _check_labels(source: Path, labels: str, images: Sequence[str]) -> None:
    """Raise ``DataError`` for images that have label files in another folder than the one that is read."""
    if (source / labels).is_dir():
        return
    stems = {Path(path).stem for path in images}
    for folder in sorted(path for pattern in ('*', '*/*') for path in source.glob(pattern) if path.is_dir()):
        if any(path.stem in stems for path in folder.glob('*.txt')):
            other = folder.relative_to(source).as_posix()
            raise DataError(
                f'{str(source)!r} has no folder {labels!r}, but label files of its images in {other!r}: give that '
                'as the folder of labels (--labels), or put the images of a test set elsewhere'
            )


@dataclass(frozen=True)
class _Job:
    """The settings of a tiling, applied to each image in a worker; see ``tile_dota``."""

    target: Path
    images: str
    labels: str
    sizes: list[int]
    overlaps: list[int]
    min_visible: float
    keep_empty: bool
    image_format: str

    def run(self, path: str, label_folder: Path) -> TilingReport:
        report = TilingReport()
        try:
            img = read_image(path)
        except UnreadableImageError as error:
            report.skipped.append(Skip(path, None, error.reason))
            return report
        report.images = 1
        stem = Path(path).stem
        file = label_folder / f'{stem}.txt'
        found = read_dota_labels(file) if file.is_file() else parse_dota_labels('')
        report.skipped += [Skip(str(file), line, reason) for line, reason in found.skipped]
        for tile, lines, cut in self._tiles(img.shape[:2], found):
            name = tile.name(stem)
            x0, y0, x1, y1 = tile.rect
            self._write(self.target / self.images / f'{name}.{self.image_format}', img[y0:y1, x0:x1])
            if label_folder.is_dir():
                (self.target / self.labels / f'{name}.txt').write_text(''.join(f'{line}\n' for line in lines))
            report.tiles += 1
            report.objects += len(lines)
            report.cut += cut
        return report

    def _tiles(self, shape: tuple[int, int], found: DotaLabels) -> Iterator[tuple[Tile, list[str], int]]:
        for tile in tiles_of(shape, self.sizes, self.overlaps):
            lines, cut = cut_labels(found, tile.rect, self.min_visible)
            if lines or self.keep_empty:
                yield tile, lines, cut

    def _write(self, path: Path, img: np.ndarray) -> None:
        done, data = cv2.imencode(path.suffix, img[..., ::-1], _FORMATS[self.image_format])
        if not done:
            raise OSError(f'{os.fspath(path)}: a picture of shape {img.shape} cannot be encoded')
        path.write_bytes(data.tobytes())
