"""``AnchorPriorGenerator``: boxes of a few shapes around the centre of every cell of every feature map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from detkit.registry import PRIOR_GENERATORS
from detkit.utils.errors import ConfigError

from .prior_generator import BasePriorGenerator, cell_points


class AnchorPriors(NamedTuple):
    """The h * w * A anchors of one level, row by row; those of a cell are consecutive.

    Attributes:
        points: ``(h * w * A, 2)`` x, y of the centres, in pixels of the network's input.
        sizes_wh: ``(h * w * A, 2)`` width and height in pixels.
        shapes_wh: ``(A, 2)``, sizes of the anchors of one cell.
        stride: pixels per cell.
        map_size: (h, w) in cells.
    """

    points: Tensor
    sizes_wh: Tensor
    shapes_wh: Tensor
    stride: int
    map_size: tuple[int, int]


@PRIOR_GENERATORS.register_module()
class AnchorPriorGenerator(BasePriorGenerator):
    """Prior generator of a list of ``AnchorPriors``, one for each level.

    Args:
        anchors: for each level, fine to coarse, (width, height) in pixels of A shapes; every level has as many.
        strides: strides of the levels.

    Attributes:
        num_shapes: A.
    """

    def __init__(self, anchors: Sequence[Sequence[Sequence[float]]], strides: Sequence[int]) -> None:
        super().__init__(strides)
        if len(anchors) != len(self.strides):
            raise ConfigError(
                f'anchors has {len(anchors)} levels, but there are {len(self.strides)} of strides '
                f'{self.strides}: give one list of (width, height) a level, fine to coarse'
            )
        for shape in (shape for level in anchors for shape in level):
            if not isinstance(shape, Sequence) or len(shape) != 2 or not min(shape) > 0:
                raise ConfigError(f'anchors has the shape {shape!r}; each is a (width, height), positive, in pixels')
        counts = {len(level) for level in anchors}
        if len(counts) != 1 or 0 in counts:
            raise ConfigError(
                f'anchors has {", ".join(str(len(level)) for level in anchors)} shapes at its levels; '
                'every level needs the same number, at least 1'
            )
        self.anchors = tuple(tuple(tuple(map(float, shape)) for shape in level) for level in anchors)
        self.num_shapes = counts.pop()

    def _generate(
        self, sizes: tuple[tuple[int, int], ...], device: torch.device, dtype: torch.dtype
    ) -> list[AnchorPriors]:
        levels = []
        for size, stride, shapes in zip(sizes, self.strides, self.anchors, strict=True):
            # A tensor made on the device from numbers of the host would wait for their copy.
            shapes_wh = torch.tensor(shapes, dtype=dtype).to(device, non_blocking=True)
            points = cell_points(size, stride, 0.5, device, dtype).unsqueeze(1).expand(-1, self.num_shapes, -1)
            sizes_wh = (
                torch.zeros_like(points) + shapes_wh
            )  # (h * w, A, 2), without the number of cells: it may be traced
            levels.append(AnchorPriors(points.reshape(-1, 2), sizes_wh.reshape(-1, 2), shapes_wh, stride, size))
        return levels
