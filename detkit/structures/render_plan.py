"""``RenderPlan``: how the images of a batch are made of stored ones, for a renderer that draws them all at once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ['RenderPlan', 'TileDrawing', 'stack_plans']


@dataclass(frozen=True)
class TileDrawing:
    """How one tile is drawn, in numbers.

    Attributes:
        image: index of the image in the store.
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

    image: int
    inverse: Any
    bounds: tuple[int, int, int, int]
    spans: Any
    mask: Any = None
    reduction: tuple[int, int, int, int, int, int] | None = None
    layer: int = 0
    weight: float = 1.0


@dataclass
class RenderPlan:
    """The drawing of B images ``(H, W)`` of at most K tiles each.

    Attributes:
        size: (h, w) of the canvas.
        fill: grey value where no tile is drawn.
        images: ``(B, K)`` int64, index of each tile's image in the store; -1 where there is no tile.
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
    images: Tensor
    inverse: Tensor
    bounds: Tensor
    spans: Tensor
    layers: Tensor
    weights: Tensor
    reductions: dict[tuple[int, int], tuple[int, int, int, int, int, int]]
    masks: dict[tuple[int, int], Tensor]
    hsv_tables: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> RenderPlan:
        """Return the plan with its tensors on a device; ``images`` stay, as the host looks the images up."""
        moved: dict[str, Any] = {
            field.name: value.to(device, non_blocking=non_blocking)
            for field in fields(self)
            if field.name != 'images' and isinstance(value := getattr(self, field.name), Tensor)
        }
        masks = {key: mask.to(device, non_blocking=non_blocking) for key, mask in self.masks.items()}
        return replace(self, masks=masks, **moved)


def stack_plans(
    size: tuple[int, int], drawings: list[list[TileDrawing]], fill: int = 114, hsv_tables: Tensor | None = None
) -> RenderPlan:
    """Return the plan of a batch.

    Args:
        size: (h, w) of every image.
        drawings: the tiles of each image, in drawing order.
        fill: grey value where no tile is drawn.
        hsv_tables: see ``RenderPlan``.
    """
    num_slots = max(1, *(len(own) for own in drawings))
    num_layers = max((tile.layer + 1 for own in drawings for tile in own), default=1)
    shape = len(drawings), num_slots
    plan = RenderPlan(
        size,
        fill,
        images=torch.full(shape, -1),
        inverse=torch.eye(3, dtype=torch.float64).repeat(*shape, 1, 1),
        bounds=torch.tensor((0, 0, 1, 1)).repeat(*shape, 1),
        spans=torch.zeros(*shape, size[0], 4, dtype=torch.int16),
        layers=torch.zeros(shape, dtype=torch.int64),
        weights=torch.zeros(len(drawings), num_layers),
        reductions={},
        masks={},
        hsv_tables=hsv_tables,
    )
    plan.weights[:, 0] = 1
    for b, own in enumerate(drawings):
        for k, tile in enumerate(own):
            plan.images[b, k] = tile.image
            plan.inverse[b, k] = torch.as_tensor(tile.inverse)
            plan.bounds[b, k] = torch.tensor(tile.bounds)
            plan.spans[b, k] = torch.as_tensor(tile.spans)
            plan.layers[b, k] = tile.layer
            plan.weights[b, tile.layer] = tile.weight
            if tile.reduction is not None:
                plan.reductions[b, k] = tile.reduction
            if tile.mask is not None:
                plan.masks[b, k] = torch.as_tensor(tile.mask)
    return plan
