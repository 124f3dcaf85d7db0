"""Pictures whose objects can be found again in the pixels, and a dataset of them."""

import cv2
import numpy as np

from detkit.datasets.base import DetDataset
from detkit.datasets.transforms.pipeline import apply_transform
from detkit.structures import Annotations, Polygons, Record, Scene
from detkit.structures.sample import Sample
from detkit.utils.rng import keyed_rng

GREEN = (0, 255, 0)


def annotations_of(rings, labels=None, **options) -> Annotations:
    """One ring an object, ``(K, 2)`` each."""
    rings = [np.asarray(ring, np.float32) for ring in rings]
    sizes = np.array([len(ring) for ring in rings], np.int64)
    points = np.concatenate(rings) if rings else np.zeros((0, 2), np.float32)
    polygons = Polygons(points, sizes, np.arange(len(rings)))
    labels = np.arange(len(rings)) if labels is None else np.asarray(labels, np.int64)
    return Annotations(labels, polygons.bboxes(len(rings)), polygons=polygons, **options)


def shape_rings(height: int, width: int) -> list[np.ndarray]:
    """A disc, a tilted bar and an L, away from each other."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    disc = np.stack([np.cos(angles), np.sin(angles)], 1) * 0.15
    bar = np.array([[0.0, 0.0], [0.3, 0.1], [0.26, 0.18], [-0.04, 0.08]])
    ell = np.array([[0, 0], [0.1, 0], [0.1, 0.25], [0.3, 0.25], [0.3, 0.35], [0, 0.35]])
    scale = np.array([width, height])
    return [(disc + [0.25, 0.25]) * scale, (bar + [0.6, 0.15]) * scale, (ell + [0.3, 0.55]) * scale]


def paint(height: int, width: int, rings, color=GREEN) -> np.ndarray:
    """Rings filled on black, drawn eight times as fine and averaged, so that edges lie where the rings say."""
    fine = np.zeros((height * 8, width * 8, 3), np.uint8)
    for ring in rings:
        cv2.fillPoly(fine, [np.round(np.asarray(ring) * 8 - 0.5).astype(np.int32)], color)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)


def shapes_scene(height: int = 120, width: int = 160) -> Scene:
    rings = shape_rings(height, width)
    return Scene.of_image(paint(height, width, rings), annotations_of(rings))


def sample_of(scene: Scene, seed: int = 0, position: int = 0, **options) -> Sample:
    record = Record('', 'image', scene.size, Annotations())
    return Sample(**{'record': record, 'rng': keyed_rng(seed, 0, position), 'scene': scene, **options})


def run(transform, sample: Sample, others=()) -> Sample:
    """Run a transform, the scenes of ``others`` being what it mixes in."""
    return apply_transform(transform, sample, lambda count: [sample_of(scene) for scene in others[:count]])


class ListDataset(DetDataset):
    """A dataset of records made elsewhere."""

    def __init__(self, given, **options):
        self.given = given
        super().__init__(**{'metainfo': {'classes': ('disc', 'bar', 'ell')}, **options})

    def load_records(self):
        return list(self.given)


def write_shapes(folder, count: int = 6, suffix: str = '.png') -> list[Record]:
    """Images of different shapes, and their records."""
    records = []
    for i in range(count):
        height, width = (96 + 8 * (i % 3), 128 - 16 * (i % 4))
        rings = shape_rings(height, width)
        path = folder / f'{i}{suffix}'
        img = paint(height, width, rings, (0, 255, 40 * i))
        cv2.imwrite(str(path), img[..., ::-1])
        records.append(Record(str(path), i, (height, width), annotations_of(rings)))
    return records
