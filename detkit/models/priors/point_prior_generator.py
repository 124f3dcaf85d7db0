"""``PointPriorGenerator``: one point in every cell of every feature map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from detkit.registry import PRIOR_GENERATORS

from .prior_generator import BasePriorGenerator, cell_points, corner_points


class PointPriors(NamedTuple):
    """The P points of all levels, fine to coarse, each level row by row.

    Attributes:
        points: ``(P, 2)`` x, y in pixels of the network's input.
        strides: ``(P,)`` pixels per cell of the level that a point belongs to.
    """

    points: Tensor
    strides: Tensor


@PRIOR_GENERATORS.register_module()
class PointPriorGenerator(BasePriorGenerator):
    """Prior generator of ``PointPriors``.

    Args:
        strides: strides of the levels, fine to coarse.
        offset: position of a point in its cell, in cells; .5 is the centre. None takes the top left corners of cells
            whose size is rounded down, see ``corner_points``, as torchvision's FCOS does.
    """

    def __init__(self, strides: Sequence[int], offset: float | None = 0.5) -> None:
        super().__init__(strides)
        self.offset = offset

    def _generate(self, sizes: tuple[tuple[int, int], ...], device: torch.device, dtype: torch.dtype) -> PointPriors:
        if self.offset is None:
            points = corner_points(sizes, self.strides, device, dtype)
        else:
            points = [
                cell_points(size, stride, self.offset, device, dtype)
                for size, stride in zip(sizes, self.strides, strict=True)
            ]
        strides = [
            torch.full((h * w,), stride, device=device, dtype=dtype)
            for (h, w), stride in zip(sizes, self.strides, strict=True)
        ]
        return PointPriors(torch.cat(points), torch.cat(strides))
