"""Search for the shapes of anchors that fit given objects: k-means, then evolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

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
        quality: of the best anchor, on average; 0 for an object that none fits. The search makes this large.
    """

    recall: float
    per_object: float
    quality: float


class AnchorSearch:
    """Search for anchors that fit objects.

    Args:
        sizes_wh: ``(N, 2)`` width and height of the objects in pixels of the network's input, N at least 1.
        shape_quality, min_quality: an assigner's (``YOLOv5AnchorAssigner``): an anchor fits an object when their
            quality is above the minimum.
        seed: of the random choices.
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
        shapes = torch.from_numpy(np.asarray(shapes_wh, np.float32))
        for part in self.sizes_wh.split(_MAX_OBJECTS):
            qualities = self.shape_quality(part.unsqueeze(1), shapes)  # (N, A)
            fits, best = qualities > self.min_quality, qualities.amax(1)
            recall += fits.any(1).sum().item()
            per_object += fits.sum().item()
            quality += best[best > self.min_quality].double().sum().item()
        count = len(self.sizes_wh)
        return AnchorFit(recall / count, per_object / count, quality / count)

    def count_best(self, shapes_wh: np.ndarray) -> np.ndarray:
        """Return, for each of ``(A, 2)`` shapes, how many objects it fits better than the others do, ``(A,)`` int64."""
        shapes = torch.from_numpy(np.asarray(shapes_wh, np.float32))
        counts = np.zeros(len(shapes), np.int64)
        for part in self.sizes_wh.split(_MAX_OBJECTS):
            best, index = self.shape_quality(part.unsqueeze(1), shapes).max(1)
            counts += np.bincount(index[best > self.min_quality].numpy(), minlength=len(shapes))
        return counts

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
        for _ in range(steps):
            changes = self.rng.normal(0, _MUTATION_SIZE, best.shape) * (self.rng.random(best.shape) < _MUTATION_CHANCE)
            changed = np.maximum(best * np.exp(changes), 1.0)
            if (found := self._fitness(changed)) > fitness:
                best, fitness = changed, found
        return best

    def _fitness(self, shapes_wh: np.ndarray) -> float:
        shapes = torch.from_numpy(np.asarray(shapes_wh, np.float32))
        best = self.shape_quality(self._sample.unsqueeze(1), shapes).amax(1)
        return (best * (best > self.min_quality)).mean().item()


def split_by_level(shapes_wh: np.ndarray, num_levels: int, digits: int = 1) -> list[list[tuple[float, float]]]:
    """Sort shapes by area and split them evenly into levels, the smallest at the finest level; round their sides."""
    order = np.argsort(shapes_wh.prod(1), kind='stable')
    levels = np.round(shapes_wh[order], digits).reshape(num_levels, -1, 2).tolist()
    return [[tuple(int(side) if side == int(side) else side for side in shape) for shape in level] for level in levels]
