"""Search for anchors that fit the training data of a config: k-means on the shapes of objects, then evolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.config import Config
from scipy.cluster.vq import kmeans2
from torch import Tensor

from detkit.analysis.data.annotations_table import plain_dataset
from detkit.config import load_config
from detkit.datasets.wrappers import records_of
from detkit.models.heads.anchor_head import AnchorHead
from detkit.registry import DATASETS, DETECTORS
from detkit.structures.annotations import Record
from detkit.utils.errors import ConfigError, DataError
from detkit.utils.progress import track
from detkit.utils.tables import text_table
from detkit.utils.without_memory import without_memory

Anchors = list[list[tuple[float, float]]]

# Objects with both sides below it are noise rather than something to fit anchors to.
_MIN_SIDE = 2

# Objects that the search uses at most; more of them only take more time.
_MAX_OBJECTS = 20_000
_KMEANS_RESTARTS = 5
_KMEANS_STEPS = 100
# Chance that an anchor's side changes in a step of evolution, and by how much (of its logarithm).
_MUTATION_CHANCE = 0.3
_MUTATION_SIZE = 0.1

# ``(N, 1, 2)`` sizes of boxes and ``(A, 2)`` shapes of anchors -> ``(N, A)`` in [0, 1].
ShapeQuality = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class AnchorFit:
    """How well anchors fit objects.

    Attributes:
        recall: best possible recall: the share of objects that some anchor fits, so that they are learnt at all.
        per_object: how many anchors fit an object, on average.
        quality: quality of the best anchor, on average; 0 for an object that none fits. The search makes this large.
        best_counts: for each anchor, how many objects it fits better than the others do.
    """

    recall: float
    per_object: float
    quality: float
    best_counts: tuple[int, ...]


class AnchorSearch:
    """Search for anchors that fit objects.

    Args:
        sizes_wh: ``(N, 2)`` width and height of the objects in pixels of the network's input, N at least 1.
        shape_quality, min_quality: an assigner's (``YOLOv5AnchorAssigner``): an anchor fits an object when their
            quality is above the minimum.
        seed: seed of the random choices.
    """

    def __init__(self, sizes_wh: np.ndarray, shape_quality: ShapeQuality, min_quality: float, seed: int = 0) -> None:
        self.sizes_wh = torch.from_numpy(np.asarray(sizes_wh, np.float32))
        self.shape_quality = shape_quality
        self.min_quality = min_quality
        self.rng = np.random.default_rng(seed)
        chosen = self.sizes_wh
        if len(chosen) > _MAX_OBJECTS:
            chosen = chosen[torch.from_numpy(self.rng.choice(len(chosen), _MAX_OBJECTS, replace=False))]
        self._sample = chosen

    def measure(self, shapes_wh: np.ndarray) -> AnchorFit:
        """Return how well ``(A, 2)`` shapes fit all objects."""
        recall = per_object = quality = 0.0
        best_counts = np.zeros(len(shapes_wh), np.int64)
        shapes = torch.from_numpy(np.asarray(shapes_wh, np.float32))
        for part in self.sizes_wh.split(_MAX_OBJECTS):
            qualities = self.shape_quality(part.unsqueeze(1), shapes)  # (N, A)
            fits, (best, index) = qualities > self.min_quality, qualities.max(1)
            fitted = best > self.min_quality
            recall += fitted.sum().item()
            per_object += fits.sum().item()
            quality += best[fitted].double().sum().item()
            best_counts += np.bincount(index[fitted].numpy(), minlength=len(shapes))
        count = len(self.sizes_wh)
        return AnchorFit(recall / count, per_object / count, quality / count, tuple(best_counts.tolist()))

    def kmeans(self, count: int) -> np.ndarray:
        """Return the best ``(count, 2)`` centres of several runs of k-means.

        The clusters are those of the logarithms of width and height, where equal ratios are equal distances.
        """
        points = np.log(np.maximum(self._sample.numpy().astype(np.float64), 1e-3))
        distinct = np.unique(points, axis=0)
        if len(distinct) <= count:
            return np.exp(np.resize(distinct, (count, 2)))
        starts = [kmeans2(points, count, _KMEANS_STEPS, minit='++', seed=self.rng) for _ in range(_KMEANS_RESTARTS)]
        return max((np.exp(centres) for centres, _ in starts), key=self._fitness)

    def evolve(self, shapes_wh: np.ndarray, steps: int) -> np.ndarray:
        """Return ``(A, 2)`` shapes that fit at least as well, found by keeping the random changes that help."""
        best, fitness = np.asarray(shapes_wh, np.float64), self._fitness(shapes_wh)
        for _ in track(range(steps), 'evolve anchors'):
            changes = self.rng.normal(0, _MUTATION_SIZE, best.shape) * (self.rng.random(best.shape) < _MUTATION_CHANCE)
            changed = np.maximum(best * np.exp(changes), 1.0)
            if (found := self._fitness(changed)) > fitness:
                best, fitness = changed, found
        return best

    def _fitness(self, shapes_wh: np.ndarray) -> float:
        shapes = torch.from_numpy(np.asarray(shapes_wh, np.float32))
        best = self.shape_quality(self._sample.unsqueeze(1), shapes).amax(1)
        return (best * (best > self.min_quality)).mean().item()


def split_by_level(shapes_wh: np.ndarray, num_levels: int) -> list[list[tuple[float, float]]]:
    """Sort shapes by area and split them evenly into levels, the smallest at the finest level; round their sides."""
    order = np.argsort(shapes_wh.prod(1), kind='stable')
    levels = np.round(shapes_wh[order], 1).reshape(num_levels, -1, 2).tolist()
    return [[tuple(int(side) if side == int(side) else side for side in shape) for shape in level] for level in levels]


@dataclass(frozen=True)
class AnchorReport:
    """Anchors before and after the search, and how well they fit.

    Attributes:
        before, after: for each level, fine to coarse, (width, height) in pixels.
        fit_before, fit_after: how they fit all objects.
        num_objects, num_images: numbers of objects and images that they were fitted to.
        num_small: objects left out as smaller than 2 pixels.
        img_size: side in pixels that images are scaled to.
    """

    before: Anchors
    after: Anchors
    fit_before: AnchorFit
    fit_after: AnchorFit
    num_objects: int
    num_images: int
    num_small: int
    img_size: int

    @property
    def improved(self) -> bool:
        """Whether the new anchors fit better."""
        return self.fit_after.quality > self.fit_before.quality

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        rows = []
        for name, fit in (('before', self.fit_before), ('after', self.fit_after)):
            at_level = np.reshape(fit.best_counts, (len(self.before), -1)).sum(1)
            rows.append(
                [name, f'{fit.recall:.4f}', f'{fit.per_object:.2f}', f'{fit.quality:.3f}', ' '.join(map(str, at_level))]
            )
        header = ['', 'best possible recall', 'anchors an object', 'quality', 'objects best at each level']
        table = text_table(header, rows, left=(0, 4))
        small = f' ({self.num_small} smaller than {_MIN_SIDE} pixels left out)' if self.num_small else ''
        objects = f'{self.num_objects} objects in {self.num_images} images at {self.img_size} pixels{small}'
        lines = [objects, table]
        if not self.improved:
            return [*lines, 'The anchors that the config has fit as well; keep them.']
        levels = ',\n'.join(f'    {level}' for level in self.after)
        option = f'model.head.anchors={self.after}'.replace(' ', '')
        return [*lines, f'anchors=[\n{levels},\n]', f'--cfg-options "{option}"']


def optimize_anchors(
    path: str,
    options: Sequence[str] | dict | None = None,
    img_size: int | None = None,
    per_level: int | None = None,
    steps: int = 1000,
    seed: int = 0,
) -> AnchorReport:
    """Fit anchors to the training data of a config: k-means on the objects' shapes, then evolution.

    The head's assigner decides which anchors fit an object, so that the results are those of training.

    Args:
        path: the config file, of a model whose head has anchors.
        options: changes to the config, as ``--cfg-options``.
        img_size: side in pixels that images are scaled to; the config's ``img_size`` if left out.
        per_level: anchors at each level; as many as the head has if left out.
        steps: steps of evolution.
        seed: seed of the random choices.

    Raises:
        ConfigError: the model has no anchors, or the image size is not known.
        DataError: there is no object.
    """
    if steps < 0 or (per_level is not None and per_level < 1):
        raise ConfigError(
            f'{steps} steps of evolution and {per_level} anchors a level were asked for; give at least 0 and 1.'
        )
    config = load_config(path, options)
    size = _image_size(config, img_size)
    with without_memory():
        head = DETECTORS.build(config.model).head
    if not isinstance(head, AnchorHead):
        raise ConfigError(f'{path}: its head, {type(head).__name__}, has no anchors.')
    records = records_of(DATASETS.build(plain_dataset(config.train_dataloader.dataset.to_dict())))
    sizes_wh = object_sizes(records, size)
    kept = (sizes_wh >= _MIN_SIDE).any(1)
    if not kept.any():
        raise DataError(f'{path}: its training data have no object to fit anchors to.')

    before = [list(level) for level in head.prior_generator.anchors]
    count = (per_level or head.prior_generator.num_shapes) * len(before)
    search = AnchorSearch(sizes_wh[kept], head.assigner.shape_quality, head.assigner.min_quality, seed)
    starts = [search.kmeans(count)]
    if count == sum(map(len, before)):
        starts.append(np.concatenate([np.array(level) for level in before]))
    found = max((search.evolve(start, steps) for start in starts), key=lambda shapes: search.measure(shapes).quality)
    after = split_by_level(found, len(before))
    fits = [search.measure(np.array([shape for level in anchors for shape in level])) for anchors in (before, after)]
    return AnchorReport(before, after, *fits, int(kept.sum()), len(records), int((~kept).sum()), size)


def object_sizes(records: Sequence[Record], img_size: int) -> np.ndarray:
    """Return widths and heights ``(N, 2)`` of all objects in images whose long side is scaled to ``img_size``.

    Crowds and difficult objects are left out: training does not see them.
    """
    sizes = [np.zeros((0, 2))]
    for record in records:
        if record.ori_shape is None:
            raise DataError(f'the size of {record.img_path} is not known, to which its boxes relate')
        bboxes = record.annotations.bboxes[~record.annotations.ignored].astype(np.float64)
        sizes.append((bboxes[:, 2:] - bboxes[:, :2]) * (img_size / max(record.ori_shape)))
    return np.concatenate(sizes)


def _image_size(config: Config, img_size: int | None) -> int:
    size = config.get('img_size') if img_size is None else img_size
    size = max(size) if isinstance(size, list | tuple) else size
    if not isinstance(size, int) or size < 1:
        raise ConfigError(f'{config.filename} states no img_size; say with --img-size how large images are.')
    return size
