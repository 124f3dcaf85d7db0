"""Shapes of anchors for given objects: k-means, then evolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# The search sees so many objects at most; more of them change nothing but the time it takes.
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
    """Looks for anchors that fit objects.

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
        """How well ``(A, 2)`` shapes fit all objects."""
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

    def best_places(self, shapes_wh: np.ndarray) -> np.ndarray:
        """``(A,)`` int64: how many objects each shape is the best for, of those that it fits."""
        shapes = torch.from_numpy(np.asarray(shapes_wh, np.float32))
        counts = np.zeros(len(shapes), np.int64)
        for part in self.sizes_wh.split(_MAX_OBJECTS):
            best, place = self.shape_quality(part.unsqueeze(1), shapes).max(1)
            counts += np.bincount(place[best > self.min_quality].numpy(), minlength=len(shapes))
        return counts

    def kmeans(self, count: int) -> np.ndarray:
        """``(count, 2)`` centres of the objects' shapes: Lloyd's algorithm on logarithms, where ratios are distances.

        The best of several starts, which are far from each other (k-means++, Arthur and Vassilvitskii 2007).
        """
        points = np.log(np.maximum(self._sample.numpy().astype(np.float64), 1e-3))
        results = [np.exp(_lloyd(points, count, self.rng)) for _ in range(_KMEANS_RESTARTS)]
        return max(results, key=self._fitness)

    def evolve(self, shapes_wh: np.ndarray, steps: int) -> np.ndarray:
        """``(A, 2)`` shapes that fit at least as well: random changes of which those that help are kept."""
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


def _lloyd(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``(count, D)`` centres of ``(N, D)`` points."""
    centres = points[rng.integers(len(points))][None]
    for _ in range(count - 1):
        gaps = _square_distances(points, centres).min(1)
        # Where points are fewer than centres, some centres coincide.
        share = gaps / gaps.sum() if gaps.sum() > 0 else None
        centres = np.concatenate([centres, points[rng.choice(len(points), p=share)][None]])
    for _ in range(_KMEANS_STEPS):
        nearest = _square_distances(points, centres).argmin(1)
        counts = np.bincount(nearest, minlength=count)
        sums = np.stack([np.bincount(nearest, column, count) for column in points.T], 1)
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
        if np.allclose(moved, centres):
            break
        centres = moved
    return centres


def _square_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return ((points[:, None] - centres) ** 2).sum(2)  # (N, C)


def split_by_level(shapes_wh: np.ndarray, num_levels: int, digits: int = 1) -> list[list[tuple[float, float]]]:
    """Shapes of each level: sorted by area, the smallest at the finest level, as many at every level; rounded."""
    order = np.argsort(shapes_wh.prod(1), kind='stable')
    levels = np.round(shapes_wh[order], digits).reshape(num_levels, -1, 2).tolist()
    return [[tuple(int(side) if side == int(side) else side for side in shape) for shape in level] for level in levels]
