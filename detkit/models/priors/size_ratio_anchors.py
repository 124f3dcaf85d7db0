"""``SizeRatioAnchorGenerator``: boxes of several sizes and aspect ratios about every cell of every feature map."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from detkit.registry import PRIOR_GENERATORS
from detkit.utils.errors import ConfigError

from .prior_generator import BasePriorGenerator, corner_points


class BoxPriors(NamedTuple):
    """The P anchors of all levels, fine to coarse, each level row by row; those of a cell are consecutive.

    Attributes:
        bboxes: ``(P, 4)`` xyxy in pixels of the network's input; they may reach beyond it.
        level_sizes: number of anchors of each level.
    """

    bboxes: Tensor
    level_sizes: tuple[int, ...]

    @property
    def points(self) -> Tensor:
        """``(P, 2)`` x, y of the centres."""
        return (self.bboxes[:, :2] + self.bboxes[:, 2:]) / 2


@PRIOR_GENERATORS.register_module()
class SizeRatioAnchorGenerator(BasePriorGenerator):
    """Prior generator of ``BoxPriors`` (Faster R-CNN, arXiv:1506.01497, section 3.1.1).

    An anchor of size s and ratio r is s / sqrt(r) wide and s * sqrt(r) high, its sides rounded to even numbers, and its
    centre the top left corner of its cell. Cells of strides above 32 are as wide as the input's width divided by their
    number, rounded down, which can be less than their stride. All of this is as in torchvision.

    Args:
        strides: strides of the levels, fine to coarse.
        scales: sizes in strides, rounded down to whole pixels.
        ratios: height by width.
        sizes: instead of ``scales``, the sizes of each level in pixels; every level has as many.

    Attributes:
        num_shapes: A, anchors of a cell.

    Raises:
        ConfigError: ``sizes`` has another number of levels, or levels with other numbers of sizes.
    """

    def __init__(
        self,
        strides: Sequence[int],
        scales: Sequence[float] = (8,),
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        sizes: Sequence[Sequence[float]] | None = None,
    ) -> None:
        super().__init__(strides)
        if sizes is None:
            sizes = [[int(stride * scale) for scale in scales] for stride in self.strides]
        if len(sizes) != len(self.strides):
            raise ConfigError(
                f'sizes has {len(sizes)} levels, but there are {len(self.strides)} of strides {self.strides}: give one '
                'list of sizes in pixels a level, fine to coarse'
            )
        if not ratios or len({len(level) for level in sizes}) != 1 or not all(sizes):
            raise ConfigError(f'every level needs the same number of sizes and ratios, found {sizes} and {ratios}')
        if min(min(level) for level in sizes) <= 0 or min(ratios) <= 0:
            raise ConfigError(f'sizes and ratios must be above 0, found {sizes} and {tuple(ratios)}')
        self.sizes = tuple(tuple(level) for level in sizes)
        self.ratios = tuple(ratios)
        self.num_shapes = len(self.sizes[0]) * len(self.ratios)

    def _generate(self, sizes: tuple[tuple[int, int], ...], device: torch.device, dtype: torch.dtype) -> BoxPriors:
        levels = []
        points = corner_points(sizes, self.strides, device, dtype)
        for level_points, level_sizes in zip(points, self.sizes, strict=True):
            shapes = self._shapes(level_sizes).to(dtype).to(device, non_blocking=True)  # (A, 4)
            levels.append((level_points.repeat(1, 2).unsqueeze(1) + shapes).reshape(-1, 4))  # (h * w, A, 4)
        return BoxPriors(torch.cat(levels), tuple(prod(size) * self.num_shapes for size in sizes))

    def _shapes(self, sizes: Sequence[float]) -> Tensor:
        """Return the anchors ``(A, 4)`` about the origin, by ratio and then by size."""
        sides = torch.tensor(sizes, dtype=torch.float32)
        height_ratios = torch.tensor(self.ratios, dtype=torch.float32).sqrt().unsqueeze(1)
        widths, heights = (1 / height_ratios * sides).flatten(), (height_ratios * sides).flatten()
        return (torch.stack([-widths, -heights, widths, heights], 1) / 2).round()
