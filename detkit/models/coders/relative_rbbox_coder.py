"""``RelativeRBBoxCoder``: rotated boxes with centre and sides relative to the image."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import RotatedImageCoder
from detkit.registry import CODERS

from .relative_bbox_coder import without_crossed_edges


@CODERS.register_module()
class RelativeRBBoxCoder(RotatedImageCoder):
    """Coder of rotated boxes as (cx, cy, w, h, angle): cx and w in units of the image's width, cy and h of its height.

    So the first four numbers are those of ``RelativeBBoxCoder`` for the box before it is turned about its centre, in
    pixels, whatever the angle.
    """

    def encode(self, rbboxes: Tensor, img_shapes: Tensor) -> Tensor:
        """Return rotated boxes relative to their images.

        Args:
            rbboxes: ``(B, M, 5)`` in pixels.
            img_shapes: ``(B, 2)`` (h, w) in pixels.

        Returns:
            ``(B, M, 5)``.
        """
        return rbboxes / _units(img_shapes, rbboxes.dtype)

    def decode(self, rbboxes: Tensor, img_shapes: Tensor) -> Tensor:
        """Return rotated boxes ``(..., B, M, 5)`` in pixels: the inverse of ``encode``, with no side below 0."""
        return without_crossed_edges(rbboxes) * _units(img_shapes, rbboxes.dtype)


def _units(img_shapes: Tensor, dtype: torch.dtype) -> Tensor:
    """Return sizes ``(B, 2)`` (h, w) as ``(B, 1, 5)`` (w, h, w, h, 1)."""
    sides = img_shapes.flip(-1).repeat(1, 2).to(dtype)
    return torch.cat((sides, torch.ones_like(sides[:, :1])), dim=1).unsqueeze(1)
