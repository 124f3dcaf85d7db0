"""``BasePriorGenerator``: the base of prior generators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from detkit.protocols import PriorGenerator


class BasePriorGenerator(PriorGenerator):
    """Base of prior generators, which caches priors by size, device and type.

    A child writes ``_generate``.

    Args:
        strides: strides of the levels, fine to coarse.
    """

    # Rectangular and multi-scale batches come in many sizes; a size's priors take a few hundred kilobytes.
    MAX_CACHED = 32

    def __init__(self, strides: Sequence[int]) -> None:
        self.strides = tuple(strides)
        self._cache: dict[tuple, Any] = {}

    def __call__(
        self,
        sizes: Sequence[tuple[int, int]],
        device: torch.device | str = 'cpu',
        dtype: torch.dtype = torch.float32,
    ) -> Any:
        """Return the priors of maps of the given sizes, shared between calls and not to be changed in place.

        Args:
            sizes: (h, w) of each level's map, such as ``feat.shape[-2:]``.
            device, dtype: those of the result. A half-precision type has too few digits for coordinates.
        """
        if len(sizes) != len(self.strides):
            raise ValueError(f'{type(self).__name__}: {len(sizes)} maps for strides {self.strides}')
        if torch.jit.is_tracing() or torch.compiler.is_compiling():  # the sizes may be symbols, not numbers
            return self._generate(tuple(tuple(size) for size in sizes), torch.device(device), dtype)
        key = (tuple((int(h), int(w)) for h, w in sizes), torch.device(device), dtype)
        priors = self._cache.get(key)
        if priors is None:
            # A tensor made in inference mode could not be used by a later training step.
            with torch.inference_mode(False), torch.no_grad():
                priors = self._generate(*key)
            kept = [*self._cache.items(), (key, priors)]
            self._cache = dict(kept[-self.MAX_CACHED :])  # a new one, as other threads may read the old
        return priors

    def _generate(self, sizes: tuple[tuple[int, int], ...], device: torch.device, dtype: torch.dtype) -> Any:
        raise NotImplementedError


def cell_points(
    size: tuple[int, int], stride: int, offset: float, device: torch.device | str, dtype: torch.dtype
) -> Tensor:
    """Return the point of each cell, row by row, ``offset`` (.5 the centre) into it: ``(h * w, 2)`` x, y in pixels."""
    h, w = size
    x = (torch.arange(w, device=device, dtype=dtype) + offset) * stride
    y = (torch.arange(h, device=device, dtype=dtype) + offset) * stride
    grid_y, grid_x = torch.meshgrid(y, x, indexing='ij')
    return torch.stack((grid_x, grid_y), dim=-1).reshape(-1, 2)  # (h, w, 2) -> (h * w, 2)


def corner_points(
    sizes: Sequence[tuple[int, int]], strides: Sequence[int], device: torch.device | str, dtype: torch.dtype
) -> list[Tensor]:
    """Return the top left corner of each cell, row by row, of maps that cover one input: ``(h * w, 2)`` x, y in pixels.

    A cell of a stride that divides 32 is as wide as its stride, also where the input's width is no multiple of it. One
    of a greater stride is as wide as the input's width divided by the number of cells, rounded down, as in torchvision,
    which pads inputs to multiples of 32: of 13 cells at stride 64 over 800 pixels, each has 61. The input's sides are
    those of the finest map times its stride.
    """
    height, width = (side * strides[0] for side in sizes[0])
    points = []
    for (h, w), stride in zip(sizes, strides, strict=True):
        cell_h, cell_w = (stride, stride) if 32 % stride == 0 else (height // h, width // w)
        x = torch.arange(w, device=device, dtype=dtype) * cell_w
        y = torch.arange(h, device=device, dtype=dtype) * cell_h
        grid_y, grid_x = torch.meshgrid(y, x, indexing='ij')
        points.append(torch.stack((grid_x, grid_y), dim=-1).reshape(-1, 2))  # (h, w, 2) -> (h * w, 2)
    return points
