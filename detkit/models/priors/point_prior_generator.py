"""``PointPriorGenerator``: one point in every cell of every feature map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from detkit.registry import TASK_UTILS


class PointPriors(NamedTuple):
    """The P points of all levels, fine to coarse, each level row by row.

    Attributes:
        points: ``(P, 2)`` x, y in pixels of the network's input.
        strides: ``(P,)`` pixels per cell of the level that a point belongs to.
    """

    points: Tensor
    strides: Tensor


@TASK_UTILS.register_module()
class PointPriorGenerator:
    """Makes the points of a list of feature maps, and keeps them by size, device and type.

    Args:
        strides: of the levels, fine to coarse.
        offset: where in its cell a point lies, .5 the centre.
    """

    # Rectangular and multi-scale batches come in many sizes; a size's points take a few hundred kilobytes.
    MAX_CACHED = 32

    def __init__(self, strides: Sequence[int], offset: float = 0.5) -> None:
        self.strides = tuple(strides)
        self.offset = offset
        self._cache: dict[tuple, PointPriors] = {}

    def __call__(
        self,
        sizes: Sequence[tuple[int, int]],
        device: torch.device | str = 'cpu',
        dtype: torch.dtype = torch.float32,
    ) -> PointPriors:
        """The points for maps of the given sizes.

        Args:
            sizes: (h, w) of each level's map, such as ``feat.shape[-2:]``.
            device, dtype: of the result. A half-precision type has too few digits for coordinates.

        Returns:
            ``PointPriors``, shared between calls: not to be changed in place.
        """
        if len(sizes) != len(self.strides):
            raise ValueError(f'PointPriorGenerator: {len(sizes)} maps for strides {self.strides}')
        key = (tuple((int(h), int(w)) for h, w in sizes), torch.device(device), dtype)
        if key not in self._cache:
            if len(self._cache) >= self.MAX_CACHED:
                self._cache.pop(next(iter(self._cache)))
            # Made outside inference mode, as what is made inside it can't be used by a later training step.
            with torch.inference_mode(False), torch.no_grad():
                self._cache[key] = self._generate(*key)
        return self._cache[key]

    def _generate(self, sizes: tuple, device: torch.device, dtype: torch.dtype) -> PointPriors:
        points, strides = [], []
        for (h, w), stride in zip(sizes, self.strides, strict=True):
            x = (torch.arange(w, device=device, dtype=dtype) + self.offset) * stride
            y = (torch.arange(h, device=device, dtype=dtype) + self.offset) * stride
            grid_y, grid_x = torch.meshgrid(y, x, indexing='ij')
            points.append(torch.stack((grid_x, grid_y), dim=-1).reshape(-1, 2))  # (h, w, 2) -> (h * w, 2)
            strides.append(torch.full((h * w,), stride, device=device, dtype=dtype))
        return PointPriors(torch.cat(points), torch.cat(strides))
