"""Crops and resizes of whole images, for classifiers and DETR. They only multiply matrices, as all geometry does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detkit.datasets.transforms.geometry import fit_inside, size_pair
from detkit.registry import TRANSFORMS
from detkit.structures.sample import Sample
from detkit.structures.scene import scale_matrix, translation_matrix

__all__ = ['CenterCrop', 'RandomCrop', 'RandomResizedCrop', 'ResizeShortestEdge', 'Resize', 'short_side_shape']

# The number of times that a random crop that does not fit is drawn again before the middle is taken.
_ATTEMPTS = 10


def short_side_shape(
    shape: tuple[int, int], size: int, max_size: int | None = None, rounding: str = 'nearest'
) -> tuple[int, int]:
    """Return (h, w) of an image of ``shape`` whose shorter side becomes ``size``, see ``ResizeShortestEdge``."""
    short, long = min(shape), max(shape)
    if rounding == 'down':
        factor = min(size / short, math.inf if max_size is None else max_size / long)
        height, width = (max(math.floor(side * factor), 1) for side in shape)
        return height, width
    if max_size is not None and long / short * size > max_size:
        size = max(round(max_size * short / long), 1)
    following = int(size * long / short)
    return (size, following) if shape[0] <= shape[1] else (following, size)


@TRANSFORMS.register_module()
class ResizeShortestEdge:
    """Scale the sample, up or down, until its shorter side has a length; the other follows, rounded down.

    Args:
        size: the shorter side in pixels; of several, one is drawn for each sample.
        max_size: where the longer side would exceed this, the shorter one is instead rounded to what fits. The longer
            side, which follows from it, may then end a few pixels above (as in DETR); None: no limit.
        rounding: 'nearest', which is the above; or 'down', which multiplies both sides by the factor and rounds them
            down, as torchvision's detectors do: the shorter side of 2 % of shapes is then ``size - 1``.
    """

    stage = 'geometry'
    size_arguments = ('size', 'max_size')

    def __init__(self, size: int | Sequence[int] = 224, max_size: int | None = None, rounding: str = 'nearest') -> None:
        self.sizes = (size,) if isinstance(size, int) else tuple(size)
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f'ResizeShortestEdge(size={size}): expected one or several lengths of at least 1')
        if max_size is not None and max_size < max(self.sizes):
            raise ValueError(f'ResizeShortestEdge(max_size={max_size}): expected at least the short side, {size}')
        if rounding not in ('nearest', 'down'):
            raise ValueError(f"ResizeShortestEdge(rounding={rounding!r}): expected 'nearest' or 'down'")
        self.max_size = max_size
        self.rounding = rounding

    def __call__(self, sample: Sample) -> Sample:
        scene = sample.scene
        size = self.sizes[0] if len(self.sizes) == 1 else self.sizes[int(sample.rng.integers(len(self.sizes)))]
        height, width = scene.size
        new = short_side_shape(scene.size, size, self.max_size, self.rounding)
        return replace(sample, scene=scene.moved(scale_matrix(new[1] / width, new[0] / height), new))


@TRANSFORMS.register_module()
class Resize:
    """Scale the sample to a size.

    Args:
        size: a side, or (h, w).
        keep_ratio: scale both sides by one factor, so that the sample fits inside ``size``; otherwise both sides become
            exactly ``size``.
    """

    stage = 'geometry'
    size_arguments = ('size',)

    def __init__(self, size: int | Sequence[int] = 224, keep_ratio: bool = False) -> None:
        self.size = size_pair(size)
        self.keep_ratio = keep_ratio

    def __call__(self, sample: Sample) -> Sample:
        height, width = sample.scene.size
        new = fit_inside((height, width), self.size) if self.keep_ratio else self.size
        return replace(sample, scene=sample.scene.moved(scale_matrix(new[1] / width, new[0] / height), new))


@TRANSFORMS.register_module()
class CenterCrop:
    """Cut out the middle of the sample; a smaller sample is padded with the value that ``Render`` fills with.

    Args:
        size: a side, or (h, w).
    """

    stage = 'geometry'
    size_arguments = ('size',)

    def __init__(self, size: int | Sequence[int] = 224) -> None:
        self.size = size_pair(size)

    def __call__(self, sample: Sample) -> Sample:
        scene = sample.scene
        # Python's round, halves to even: the same pixel that torchvision starts at.
        top, left = (round((old - new) / 2) for old, new in zip(scene.size, self.size, strict=True))
        return replace(sample, scene=scene.moved(translation_matrix(-left, -top), self.size))


@TRANSFORMS.register_module()
class RandomResizedCrop:
    """Cut out a random part of the sample and scale it to a size (Inception's augmentation, arXiv:1409.4842).

    What lies outside is not cut off: a rotation or a shear behind this brings it in, where cropped pixels would leave
    grey.

    Args:
        size: of the output, a side or (h, w).
        scale: the part's area as a share of the image's is drawn from this range.
        ratio: its width / height likewise, evenly on a logarithmic scale.
    """

    stage = 'geometry'

    def __init__(
        self,
        size: int | Sequence[int] = 224,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
    ) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f'RandomResizedCrop(scale={tuple(scale)}): expected 0 < lowest <= highest <= 1')
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f'RandomResizedCrop(ratio={tuple(ratio)}): expected 0 < lowest <= highest')
        self.size = size_pair(size)
        self.scale = tuple(scale)
        self.ratio = tuple(ratio)

    def __call__(self, sample: Sample) -> Sample:
        scene = sample.scene
        left, top, width, height = self.draw_rect(sample.rng, scene.size)
        matrix = scale_matrix(self.size[1] / width, self.size[0] / height) @ translation_matrix(-left, -top)
        return replace(sample, scene=scene.moved(matrix, self.size))

    def draw_rect(self, rng: np.random.Generator, shape: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return (left, top, width, height) in whole pixels of an image of (h, w)."""
        old_height, old_width = shape
        log_ratio = np.log(self.ratio)
        for _ in range(_ATTEMPTS):
            area = old_height * old_width * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(*log_ratio))
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < width <= old_width and 0 < height <= old_height:
                left, top = rng.integers(old_width - width + 1), rng.integers(old_height - height + 1)
                return int(left), int(top), width, height
        width = min(old_width, max(round(old_height * self.ratio[1]), 1))
        height = min(old_height, max(round(old_width / self.ratio[0]), 1))
        return (old_width - width) // 2, (old_height - height) // 2, width, height


@TRANSFORMS.register_module()
class RandomCrop:
    """Cut out a random part of the sample at its scale; what lies outside is cut off, objects with it.

    Height and width are drawn apart, evenly between the limits, or the sample's own sides where these are smaller.

    Args:
        min_size: least height and width in pixels.
        max_size: greatest height and width.
    """

    stage = 'geometry'
    cuts = True

    def __init__(self, min_size: int, max_size: int) -> None:
        if not 0 < min_size <= max_size:
            raise ValueError(f'RandomCrop(min_size={min_size}, max_size={max_size}): expected 0 < min_size <= max_size')
        self.min_size = min_size
        self.max_size = max_size

    def __call__(self, sample: Sample) -> Sample:
        scene = sample.scene
        return replace(sample, scene=scene.cropped(self.draw_rect(sample.rng, scene.size)))

    def draw_rect(self, rng: np.random.Generator, shape: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return xyxy in whole pixels of an image of (h, w)."""
        height, width = (
            int(rng.integers(min(self.min_size, side), min(self.max_size, side), endpoint=True)) for side in shape
        )
        top, left = (
            int(rng.integers(old - new, endpoint=True)) for old, new in zip(shape, (height, width), strict=True)
        )
        return left, top, left + width, top + height
