"""SSD's crops and canvases, with which RT-DETR and its kin train: ``RandomZoomOut``, ``RandomIoUCrop``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detkit.datasets.transforms.scene_objects import scene_bboxes
from detkit.registry import TRANSFORMS
from detkit.structures.bboxes import pairwise_iou
from detkit.structures.sample import Sample
from detkit.structures.scene import Scene, translation_matrix

__all__ = ['RandomIoUCrop', 'RandomZoomOut']


@TRANSFORMS.register_module()
class RandomZoomOut:
    """Put the sample at a random position of a larger canvas (SSD, arXiv:1512.02325, section 3.6).

    ``Render`` fills the rest; the published recipes fill with 0.

    Args:
        prob: the probability of a larger canvas.
        ratio: the canvas's sides are those of the sample times a factor that is drawn from this range.
    """

    stage = 'geometry'

    def __init__(self, prob: float = 0.5, ratio: Sequence[float] = (1.0, 4.0)) -> None:
        if not 1 <= ratio[0] <= ratio[1]:
            raise ValueError(f'RandomZoomOut(ratio={tuple(ratio)}): expected 1 <= lowest <= highest')
        self.prob = prob
        self.ratio = tuple(ratio)

    def __call__(self, sample: Sample) -> Sample:
        rng, (height, width) = sample.rng, sample.scene.size
        if rng.random() >= self.prob:
            return sample
        factor, *shifts = rng.uniform([self.ratio[0], 0, 0], [self.ratio[1], 1, 1])
        canvas = int(height * factor), int(width * factor)
        top, left = (int((new - old) * shift) for new, old, shift in zip(canvas, (height, width), shifts, strict=True))
        return replace(sample, scene=sample.scene.moved(translation_matrix(left, top), canvas))


@TRANSFORMS.register_module()
class RandomIoUCrop:
    """Cut out a random part that overlaps with an object by a drawn least IoU (SSD, arXiv:1512.02325, section 2.2).

    Objects whose centre is not in the part are left out, and what lies outside is cut off. A sample without objects
    stays as it is, and so does one for which an IoU of 1 or more is drawn.

    Args:
        prob: the probability of trying.
        min_ious: the least IoU of the part with any of its objects is one of these.
        scale: height and width of the part as shares of the sample's are drawn from this range, apart.
        ratio: limits of its width / height.
        num_attempts: number of parts that are drawn for a least IoU before another one is drawn.
    """

    stage = 'geometry'
    cuts = True

    def __init__(
        self,
        prob: float = 0.8,
        min_ious: Sequence[float] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0),
        scale: Sequence[float] = (0.3, 1.0),
        ratio: Sequence[float] = (0.5, 2.0),
        num_attempts: int = 40,
    ) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f'RandomIoUCrop(scale={tuple(scale)}): expected 0 < lowest <= highest <= 1')
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f'RandomIoUCrop(ratio={tuple(ratio)}): expected 0 < lowest <= highest')
        if not min_ious or max(min_ious) < 1:
            raise ValueError(
                f'RandomIoUCrop(min_ious={tuple(min_ious)}): expected one of at least 1, which leaves the sample as it '
                'is where no part fits'
            )
        self.prob = prob
        self.min_ious = tuple(min_ious)
        self.scale = tuple(scale)
        self.ratio = tuple(ratio)
        self.num_attempts = num_attempts

    def __call__(self, sample: Sample) -> Sample:
        if sample.rng.random() >= self.prob:
            return sample
        bboxes, _, tile_numbers = scene_bboxes(sample.scene)
        ignored = np.concatenate([tile.annotations.ignored for tile in sample.scene.tiles] or [np.zeros(0, bool)])
        rect = self.draw_rect(sample.rng, sample.scene.size, bboxes[~ignored])
        if rect is None:
            return sample
        keep = _centres_inside(bboxes, np.array([rect]))[0] | ignored
        tiles = (
            replace(tile, annotations=tile.annotations.select(keep[tile_numbers == number]))
            for number, tile in enumerate(sample.scene.tiles)
        )
        return replace(sample, scene=Scene(sample.scene.size, tuple(tiles)).cropped(rect))

    def draw_rect(
        self, rng: np.random.Generator, shape: tuple[int, int], bboxes: np.ndarray
    ) -> tuple[int, int, int, int] | None:
        """Return the part as xyxy in whole pixels of a sample of (h, w) with objects ``(N, 4)``; None for all of it."""
        while len(bboxes):
            min_iou = self.min_ious[int(rng.integers(len(self.min_ious)))]
            if min_iou >= 1:
                return None
            rects = self._draw_rects(rng, shape)
            inside = _centres_inside(bboxes, rects)  # (attempts, N)
            best = np.where(inside, pairwise_iou(rects, bboxes), -1).max(1)
            fits = np.flatnonzero(best >= min_iou)
            if len(fits):
                x0, y0, x1, y1 = rects[fits[0]].tolist()
                return x0, y0, x1, y1
        return None

    def _draw_rects(self, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        """Return as many random parts as attempts, those of a wrong shape left out, ``(attempts, 4)`` int64 xyxy."""
        draws = rng.random((self.num_attempts, 4))
        sides = np.array(shape)
        new = (sides * (self.scale[0] + (self.scale[1] - self.scale[0]) * draws[:, :2])).astype(np.int64)  # h, w
        first = ((sides - new) * draws[:, 2:]).astype(np.int64)  # y0, x0
        rects = np.concatenate([first[:, ::-1], (first + new)[:, ::-1]], 1)
        height, width = new.T
        fits = (height > 0) & (width >= self.ratio[0] * height) & (width <= self.ratio[1] * height)
        return rects[fits]


def _centres_inside(bboxes: np.ndarray, rects: np.ndarray) -> np.ndarray:
    """Return ``(R, N)`` bool: which boxes ``(N, 4)`` have their centre in which rectangles ``(R, 4)``."""
    centres = (bboxes[:, :2] + bboxes[:, 2:]) / 2
    return ((centres > rects[:, None, :2]) & (centres < rects[:, None, 2:])).all(2)
