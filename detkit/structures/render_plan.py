"""``RenderPlan``: how the images of a batch are made of stored ones, for a renderer that draws them all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ['CanvasDrawing', 'RenderPlan', 'TileDrawing', 'stack_plans']


@dataclass(frozen=True)
class TileDrawing:
    """How one tile is drawn, in numbers.

    Attributes:
        path: the image's file, by which the store knows it.
        inverse: ``(3, 3)`` float64, pixel centres of the canvas (column, row) -> those of the image, or of the image
            after ``reduction``.
        bounds: (x0, y0, x1, y1), the whole pixels of the image that may be read; beyond them, their edges go on.
        spans: ``(H, 4)`` int16, of each row the first column that is drawn and the one behind the last, and those of a
            gap between the two, which is not drawn.
        mask: ``(H, W)`` bool, where the tile is drawn within its spans; None for all of it.
        reduction: (x0, y0, x1, y1, width, height): this rectangle of the image is averaged to that size first, which
            ``inverse`` and ``bounds`` count in; None to read the image itself.
        layer: tiles of one layer cover each other in order, layers are averaged.
        weight: the share of the layer.
    """

    path: str
    inverse: Any
    bounds: tuple[int, int, int, int]
    spans: Any
    mask: Any = None
    reduction: tuple[int, int, int, int, int, int] | None = None
    layer: int = 0
    weight: float = 1.0


@dataclass(frozen=True)
class CanvasDrawing:
    """How one image is drawn.

    Attributes:
        size: (h, w) of the image.
        fill: grey value where no tile is drawn.
        tiles: in drawing order.
        hsv_tables: ``(3, 256)`` uint8, the new hue, saturation and value of each old one; None for no change.
    """

    size: tuple[int, int]
    fill: int
    tiles: tuple[TileDrawing, ...]
    hsv_tables: Any = None


@dataclass
class RenderPlan:
    """The drawing of B images ``(H, W)`` of at most K tiles each.

    Attributes:
        size: (h, w) of the canvas.
        fill: grey value where no tile is drawn.
        paths: of each image, those of its tiles' images.
        inverse: ``(B, K, 3, 3)`` float64, see ``TileDrawing``.
        bounds: ``(B, K, 4)`` int64.
        spans: ``(B, K, H, 4)`` int16.
        layers: ``(B, K)`` int64.
        weights: ``(B, L)`` float32, the share of each layer.
        reductions: (b, k) -> the rectangle that is averaged and its new size.
        masks: (b, k) -> ``(H, W)`` bool.
        hsv_tables: ``(B, 3, 256)`` uint8, the new hue, saturation and value of each old one; None for no change.
    """

    size: tuple[int, int]
    fill: int
    paths: list[list[str]]
    inverse: Tensor
    bounds: Tensor
    spans: Tensor
    layers: Tensor
    weights: Tensor
    reductions: dict[tuple[int, int], tuple[int, int, int, int, int, int]]
    masks: dict[tuple[int, int], Tensor]
    hsv_tables: Tensor | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> RenderPlan:
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> RenderPlan:
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Callable[[Tensor], Tensor]) -> RenderPlan:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed = {name: function(value) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, masks={key: function(mask) for key, mask in self.masks.items()}, **changed)


def stack_plans(drawings: Sequence[CanvasDrawing]) -> RenderPlan:
    """Return the plan of a batch.

    Args:
        drawings: at least one; of one size and one fill.

    Raises:
        ValueError: sizes or fills differ.
    """
    if len({(drawing.size, drawing.fill) for drawing in drawings}) > 1:
        sizes = sorted({drawing.size for drawing in drawings})
        raise ValueError(f'images that are drawn together must have one size and one fill, but have sizes {sizes}')
    size, fill = drawings[0].size, drawings[0].fill
    num_slots = max(1, *(len(drawing.tiles) for drawing in drawings))
    num_layers = max((tile.layer + 1 for drawing in drawings for tile in drawing.tiles), default=1)
    shape = len(drawings), num_slots
    inverse = np.tile(np.eye(3), (*shape, 1, 1))
    bounds = np.tile(np.array([0, 0, 1, 1]), (*shape, 1))
    spans = np.zeros((*shape, size[0], 4), np.int16)
    layers = np.zeros(shape, np.int64)
    weights = np.zeros((len(drawings), num_layers), np.float32)
    weights[:, 0] = 1
    reductions, masks = {}, {}
    for b, drawing in enumerate(drawings):
        for k, tile in enumerate(drawing.tiles):
            inverse[b, k], bounds[b, k], spans[b, k] = tile.inverse, tile.bounds, tile.spans
            layers[b, k], weights[b, tile.layer] = tile.layer, tile.weight
            if tile.reduction is not None:
                reductions[b, k] = tile.reduction
            if tile.mask is not None:
                masks[b, k] = torch.from_numpy(tile.mask)
    tables = None
    if any(drawing.hsv_tables is not None for drawing in drawings):
        same = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
        tables = np.stack([same if drawing.hsv_tables is None else drawing.hsv_tables for drawing in drawings])
    return RenderPlan(
        size=size,
        fill=fill,
        paths=[[tile.path for tile in drawing.tiles] for drawing in drawings],
        inverse=torch.from_numpy(inverse),
        bounds=torch.from_numpy(bounds),
        spans=torch.from_numpy(spans),
        layers=torch.from_numpy(layers),
        weights=torch.from_numpy(weights),
        reductions=reductions,
        masks=masks,
        hsv_tables=None if tables is None else torch.from_numpy(tables),
    )
