"""Transforms that bring other images into the sample: mosaic, mixup, copy-paste."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detkit.datasets.transforms.geometry import fit_inside, letterbox_scene, mirror_tile, size_pair
from detkit.datasets.transforms.scene_objects import scene_bboxes
from detkit.registry import TRANSFORMS
from detkit.structures.bboxes import bbox_overlap_ratios
from detkit.structures.sample import Sample
from detkit.structures.scene import Scene, Tile, scale_matrix, translation_matrix

__all__ = ['CopyPaste', 'GridMosaic', 'MixTransform', 'MixUp', 'Mosaic', 'ScaledMixUp']


class MixTransform:
    """Base of transforms that combine a sample with other images.

    Whoever runs the pipeline asks ``draw`` whether and how this sample is mixed, makes the ``num_mix_images`` other
    samples, which have gone through the transforms before this one, and hands them to ``mix``.
    """

    stage = 'geometry'
    mixes = True
    num_mix_images = 1

    def draw(self, sample: Sample) -> tuple | None:
        """Draw the parameters of a mix from ``sample.rng``; None where this sample is not mixed."""
        raise NotImplementedError

    def mix(self, sample: Sample, others: Sequence[Sample], drawn: tuple) -> Sample:
        """Return the sample combined with ``num_mix_images`` others, ``drawn`` as ``draw`` returned it."""
        raise NotImplementedError

    def leave(self, sample: Sample) -> Sample:
        """Return the sample where it is not mixed."""
        return sample


@TRANSFORMS.register_module()
class Mosaic(MixTransform):
    """Join four samples at a random point of a canvas of twice the size, each scaled to ``size`` on its long side.

    ``RandomAffine(size=size)`` behind it crops the canvas. Where no mosaic is made, the sample is letterboxed to
    ``size``, so that what follows sees the same scale. From YOLOv4 (Bochkovskiy et al., 2020).

    Args:
        size: the side, or (h, w), that a sample is scaled to fit.
        prob: the probability of a mosaic.
    """

    num_mix_images = 3
    cuts = True

    def __init__(self, size: int | Sequence[int] = 640, prob: float = 1.0) -> None:
        self.size = size_pair(size)
        self.prob = prob

    def draw(self, sample: Sample) -> tuple[int, int] | None:
        """Draw the point (x, y) where the four images meet."""
        rng = sample.rng
        # The number is drawn in any case, so that later draws do not depend on the epoch.
        if rng.random() >= self.prob or sample.skips(self):
            return None
        height, width = self.size
        return int(rng.uniform(0.5, 1.5) * width), int(rng.uniform(0.5, 1.5) * height)

    def leave(self, sample: Sample) -> Sample:
        inner = fit_inside(sample.scene.size, self.size)
        return replace(sample, scene=letterbox_scene(sample.scene, inner, self.size))

    def mix(self, sample: Sample, others: Sequence[Sample], drawn: tuple[int, int]) -> Sample:
        (x, y), (height, width) = drawn, self.size
        # What lies beside a sample's own canvas would be drawn over the other samples.
        scenes = [each.scene.cropped((0, 0, *each.scene.size[::-1])) for each in (sample, *others)]
        placed = []
        for corner, scene in enumerate(scenes):
            inner = fit_inside(scene.size, self.size)
            # The corners of the four images that meet in (x, y): bottom right, bottom left, top right, top left.
            left, top = (x if corner % 2 else x - inner[1]), (y if corner // 2 else y - inner[0])
            scale = scale_matrix(inner[1] / scene.size[1], inner[0] / scene.size[0])
            moved = scene.moved(translation_matrix(left, top) @ scale, (2 * height, 2 * width))
            placed.append(moved.cropped((0, 0, 2 * width, 2 * height)))
        return replace(sample, scene=Scene.joined((2 * height, 2 * width), placed))


@TRANSFORMS.register_module()
class GridMosaic(MixTransform):
    """Put four samples into the quarters of a canvas, each scaled to ``size`` on its short side.

    A quarter is as large as the largest of the four, and each begins in its upper left corner. ``RandomAffine`` behind
    it turns, scales and shifts the canvas. This is the mosaic of DEIM's dense one-to-one matching (arXiv:2412.04234,
    section 3.2); ``Mosaic`` is that of the YOLO families.

    Args:
        size: the short side of each sample.
        prob: the probability of a mosaic.
    """

    num_mix_images = 3
    cuts = True

    def __init__(self, size: int = 320, prob: float = 1.0) -> None:
        self.size = size
        self.prob = prob

    def draw(self, sample: Sample) -> tuple | None:
        """Return an empty tuple, as nothing is drawn but whether there is a mosaic."""
        return None if sample.rng.random() >= self.prob or sample.skips(self) else ()

    def mix(self, sample: Sample, others: Sequence[Sample], drawn: tuple) -> Sample:
        # What lies beside a sample's own canvas would be drawn over the other samples.
        scenes = [each.scene.cropped((0, 0, *each.scene.size[::-1])) for each in (sample, *others)]
        # The short side first exactly, the long side rounded down, as torchvision resizes.
        sizes = [tuple(side * self.size // min(scene.size) for side in scene.size) for scene in scenes]
        height, width = (max(sides) for sides in zip(*sizes, strict=True))
        placed = []
        for corner, (scene, inner) in enumerate(zip(scenes, sizes, strict=True)):
            scale = scale_matrix(inner[1] / scene.size[1], inner[0] / scene.size[0])
            shift = translation_matrix(width * (corner % 2), height * (corner // 2))
            placed.append(scene.moved(shift @ scale, (2 * height, 2 * width)))
        return replace(sample, scene=Scene.joined((2 * height, 2 * width), placed))


@TRANSFORMS.register_module()
class MixUp(MixTransform):
    """Average the sample with another one and keep the objects of both (Zhang et al., 2018).

    The other sample has gone through the transforms before this one; both must have the same size by then.

    Args:
        prob: the probability of mixing.
        alpha: the sample's share is drawn from Beta(alpha, alpha).
        share: the range from which it is drawn evenly instead, such as (.45, .55) in DEIM.
    """

    def __init__(self, prob: float = 0.0, alpha: float = 32.0, share: Sequence[float] | None = None) -> None:
        if share is not None and not 0 <= share[0] <= share[1] <= 1:
            raise ValueError(f'MixUp(share={tuple(share)}): expected 0 <= lowest <= highest <= 1')
        self.prob = prob
        self.alpha = alpha
        self.share = share

    def draw(self, sample: Sample) -> tuple[float] | None:
        """Draw the sample's share."""
        if sample.rng.random() >= self.prob or sample.skips(self):
            return None
        if self.share is not None:
            return (float(sample.rng.uniform(*self.share)),)
        return (float(sample.rng.beta(self.alpha, self.alpha)),)

    def mix(self, sample: Sample, others: Sequence[Sample], drawn: tuple[float]) -> Sample:
        (share,) = drawn
        own, other = sample.scene, others[0].scene
        if other.size != own.size:
            raise ValueError(f'MixUp needs samples of one size before it in the pipeline: {own.size}, {other.size}')
        return replace(sample, scene=blend(own, other, share))


@TRANSFORMS.register_module()
class ScaledMixUp(MixTransform):
    """Average the sample with another one that is fitted to its size, scaled and mirrored at random (YOLOX).

    The other sample begins in the upper left corner; of what is larger than the sample a random part is taken. Put it
    into a ``RandomChoice`` behind a mosaic for a plain image to be the other one (arXiv:2107.08430, section 2.1).

    Args:
        prob: the probability of mixing.
        scale: the factor is drawn evenly from this range.
        flip_prob: the probability that the other sample is mirrored.
        share: the share of the sample.
    """

    def __init__(
        self,
        prob: float = 1.0,
        scale: Sequence[float] = (0.5, 1.5),
        flip_prob: float = 0.5,
        share: float = 0.5,
    ) -> None:
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f'ScaledMixUp(scale={tuple(scale)}): expected 0 < lowest <= highest')
        if not 0 <= share <= 1:
            raise ValueError(f'ScaledMixUp(share={share}): expected a value in [0, 1]')
        self.prob = prob
        self.scale = tuple(scale)
        self.flip_prob = flip_prob
        self.share = share

    def draw(self, sample: Sample) -> tuple[float, bool, float, float] | None:
        """Draw factor, mirroring, and the shares (x, y) of what is cut off that lie on the left and above."""
        rng = sample.rng
        if rng.random() >= self.prob or sample.skips(self):
            return None
        factor, flips = rng.uniform(*self.scale), rng.random() < self.flip_prob
        return float(factor), bool(flips), float(rng.random()), float(rng.random())

    def mix(self, sample: Sample, others: Sequence[Sample], drawn: tuple[float, bool, float, float]) -> Sample:
        factor, flips, *cut = drawn
        own, other = sample.scene, others[0].scene
        height, width = own.size
        fitted = letterbox_scene(other, fit_inside(other.size, own.size), own.size, 'top_left')
        tiles: list[Tile | None] = list(fitted.tiles)
        if flips:
            mirror = translation_matrix(width, 0) @ scale_matrix(-1, 1)
            tiles = [mirror_tile(tile, mirror, sample.flip_pairs) for tile in tiles]
            if None in tiles:
                tiles = list(fitted.tiles)
        shift = (-share * max(side * (factor - 1), 0) for share, side in zip(cut, (width, height), strict=True))
        moved = Scene(own.size, tuple(tiles)).moved(translation_matrix(*shift) @ scale_matrix(factor, factor), own.size)
        return replace(sample, scene=blend(own, moved, self.share))


def blend(own: Scene, other: Scene, share: float) -> Scene:
    """Return the average of two scenes of one size, of which the first has the ``share``."""
    first_layer = max((tile.layer for tile in own.tiles), default=-1) + 1
    tiles = [replace(tile, weight=tile.weight * share) for tile in own.tiles]
    tiles += [replace(tile, weight=tile.weight * (1 - share), layer=tile.layer + first_layer) for tile in other.tiles]
    return Scene(own.size, tuple(tiles))


@TRANSFORMS.register_module()
class CopyPaste:
    """Paste mirrored copies of the sample's own objects where they hide little (after Ghiasi et al., 2021).

    Objects are known by their outlines; those without one are not copied, nor are any in a sample whose keypoints have
    left and right, but not known pairs (see ``RandomFlip``).

    Args:
        prob: the share of the objects that fit which are pasted.
        max_covered: an object fits where its mirrored box covers no more than this share of any box that is there.
        order: which of them: 'random' ones, as in ultralytics 8.0, with which the published YOLOv8 were trained, or the
            'least_covered' ones, those that cover least of any box, as in 8.3 and 8.4.
    """

    stage = 'geometry'
    mixes = True

    def __init__(self, prob: float = 0.0, max_covered: float = 0.3, order: str = 'random') -> None:
        if order not in ('random', 'least_covered'):
            raise ValueError(f"CopyPaste(order={order!r}): expected 'random' or 'least_covered'")
        self.prob = prob
        self.max_covered = max_covered
        self.order = order

    def __call__(self, sample: Sample) -> Sample:
        if not self.prob:
            return sample
        scene = sample.scene
        bboxes, has_outline, tile_numbers = scene_bboxes(scene)
        mirror = translation_matrix(scene.size[1], 0) @ scale_matrix(-1, 1)
        mirrored = bboxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [scene.size[1], 0, scene.size[1], 0]
        covered = bbox_overlap_ratios(mirrored, bboxes).max(1, initial=0)
        fits = np.flatnonzero(has_outline & (covered < self.max_covered))
        chosen = np.zeros(len(bboxes), bool)
        is_random = self.order == 'random'
        ranked = sample.rng.permutation(fits) if is_random else fits[np.argsort(covered[fits], kind='stable')]
        chosen[ranked[: round(self.prob * len(fits))]] = True
        pasted = []
        for number, tile in enumerate(scene.tiles):
            keep = chosen[tile_numbers == number]
            if keep.any():
                copy = replace(tile, annotations=tile.annotations.select(keep), pasted=True)
                pasted.append(mirror_tile(copy, mirror, sample.flip_pairs))
        pasted = [] if None in pasted else pasted
        return replace(sample, scene=Scene(scene.size, (*scene.tiles, *pasted)))
