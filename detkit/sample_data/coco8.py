"""The drawn sample dataset that replaces COCO8-seg where it cannot be downloaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from detkit.datasets.class_names import COCO80
from detkit.sample_data.rendering import DRAWERS, RenderedScene, backdrops, populate
from detkit.utils.rng import keyed_rng

Place = Callable[[np.random.Generator], backdrops.Backdrop]

_JPEG_QUALITY = 93
_COCO_NAMES = {'wall clock': 'clock', 'alarm clock': 'clock'}  # COCO's names where they differ
_PLACES: dict[str, tuple[Place, ...]] = {
    'train': (
        lambda rng: backdrops.park(rng, (640, 640)),
        lambda rng: backdrops.table(rng, (480, 640), 'planks'),
        lambda rng: backdrops.wall(rng, (640, 640), 'bricks'),
        lambda rng: backdrops.street(rng, (640, 640)),
    ),
    'val': (
        lambda rng: backdrops.beach(rng, (640, 640)),
        lambda rng: backdrops.table(rng, (480, 640), 'marble'),
        lambda rng: backdrops.wall(rng, (640, 640), 'plaster'),
        lambda rng: backdrops.park(rng, (640, 640), dusk=True),
    ),
}


def render_scenes(split: str, count: int, seed: int = 0) -> Iterator[RenderedScene]:
    """Yield the scenes of a split, backdrops in turn, classes dealt evenly over the split.

    Args:
        split: 'train' or 'val'; they have different backdrops and objects.
        count: how many scenes.
        seed: another seed gives other scenes.

    Yields:
        Scenes whose labels are indices into COCO's 80 classes; the same on every call.
    """
    labels = {name: COCO80.index(_COCO_NAMES.get(name, name)) for name in DRAWERS}
    places, drawn = _PLACES[split], Counter()
    for i in range(count):
        rng = keyed_rng(seed, list(_PLACES).index(split), i)
        yield populate(places[i % len(places)](rng), labels, rng, drawn)


@lru_cache(maxsize=1)
def training_images(count: int = 5) -> tuple[np.ndarray, ...]:
    """Return the images of the first training scenes, (H, W, 3) uint8 RGB, which may not be written to.

    A process draws them once: a scene takes about half a second, and a file that is exported to several formats and
    timed is looked at with the same ones each time. Four of five are square.
    """
    images = tuple(scene.image for scene in render_scenes('train', count))
    for image in images:
        image.flags.writeable = False
    return images


def label_lines(scene: RenderedScene) -> list[str]:
    """Return a YOLO polygon label line an object: class index, then x y ... divided by width and height."""
    h, w = scene.image.shape[:2]
    lines = []
    for instance in scene.objects:
        points = np.clip(instance.polygon / (w, h), 0, 1)
        lines.append(' '.join([str(instance.label), *(f'{value:.6g}' for value in points.ravel())]))
    return lines


def render_coco8_seg(root: str | Path, num_train: int = 4, num_val: int = 4, seed: int = 0) -> None:
    """Write a drawn dataset with the layout of COCO8-seg.

    Makes ``images/{train,val}/*.jpg``, long side 640 pixels, and ``labels/{train,val}/*.txt``, one polygon a line with
    COCO category indices 0-79. Nothing is random: the same arguments give the same files.

    Args:
        root: folder to write into, made where it is missing.
        num_train: how many training images.
        num_val: how many validation images.
        seed: another seed gives other pictures.

    Raises:
        OSError: a file can't be written.
    """
    for split, first, count in (('train', 1, num_train), ('val', 1 + num_train, num_val)):
        scenes = render_scenes(split, count, seed)
        write_split(root, split, first, ((scene.image, label_lines(scene)) for scene in scenes))


def write_split(root: str | Path, split: str, first: int, scenes: Iterable[tuple[np.ndarray, list[str]]]) -> None:
    """Write (H, W, 3) uint8 RGB pictures and their label lines as a split in YOLO's layout, numbered from ``first``."""
    root = Path(root)
    for kind in ('images', 'labels'):
        (root / kind / split).mkdir(parents=True, exist_ok=True)
    for i, (image, lines) in enumerate(scenes, first):
        write_jpeg(root / 'images' / split / f'{i:012d}.jpg', image)
        (root / 'labels' / split / f'{i:012d}.txt').write_text('\n'.join(lines) + '\n', encoding='utf-8')


def write_jpeg(path: Path, image: np.ndarray, quality: int = _JPEG_QUALITY) -> None:
    """Write an (H, W, 3) uint8 RGB picture."""
    done, data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise OSError(f'OpenCV could not encode the drawn picture {path.name}')
    path.write_bytes(data.tobytes())
