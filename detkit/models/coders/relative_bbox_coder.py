"""``RelativeBBoxCoder``: boxes as centre and size relative to the image."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import ImageCoder
from detkit.registry import CODERS


@CODERS.register_module()
class RelativeBBoxCoder(ImageCoder):
    """Coder of boxes as (cx, cy, w, h) in units of the image's width and height without padding (arXiv:2005.12872)."""

    def encode(self, bboxes: Tensor, img_shapes: Tensor) -> Tensor:
        """Return boxes relative to their images.

        Args:
            bboxes: ``(B, M, 4)`` xyxy pixels.
            img_shapes: ``(B, 2)`` (h, w) in pixels.

        Returns:
            ``(B, M, 4)`` cxcywh.
        """
        return xyxy_to_relative(bboxes, img_shapes)

    def decode(self, bboxes_cxcywh: Tensor, img_shapes: Tensor) -> Tensor:
        """Return boxes ``(..., B, M, 4)``, xyxy in pixels: the inverse of ``encode``."""
        return cxcywh_to_xyxy(bboxes_cxcywh * _units(img_shapes, bboxes_cxcywh.dtype))


def xyxy_to_relative(bboxes: Tensor, img_shapes: Tensor) -> Tensor:
    """Return boxes ``(B, M, 4)``, xyxy in pixels of images ``(B, 2)`` (h, w), as cxcywh relative to the images."""
    low, high = bboxes[..., :2], bboxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), dim=-1) / _units(img_shapes, bboxes.dtype)


def cxcywh_to_xyxy(bboxes_cxcywh: Tensor) -> Tensor:
    """Return boxes ``(..., 4)`` given as centre and size as their corners ``(..., 4)``."""
    centres, halves = bboxes_cxcywh[..., :2], bboxes_cxcywh[..., 2:] / 2
    return torch.cat((centres - halves, centres + halves), dim=-1)


def without_crossed_edges(bboxes: Tensor) -> Tensor:
    """Return boxes ``(..., 4)`` cxcywh, or 5 with an angle, with 0 in place of a size below 0.

    Edges that are moved by distances may cross. In an overlap such a box would have a negative area, or the area of its
    mirror image.
    """
    return torch.cat((bboxes[..., :2], bboxes[..., 2:4].clamp(min=0), bboxes[..., 4:]), dim=-1)


def cxcywh_to_ordered_xyxy(bboxes_cxcywh: Tensor) -> Tensor:
    """Return the corners ``(..., 4)`` of boxes ``(..., 4)`` for overlaps, see ``without_crossed_edges``."""
    return cxcywh_to_xyxy(without_crossed_edges(bboxes_cxcywh))


def _units(img_shapes: Tensor, dtype: torch.dtype) -> Tensor:
    """Return sizes ``(B, 2)`` (h, w) as ``(B, 1, 4)`` (w, h, w, h)."""
    return img_shapes.flip(-1).repeat(1, 2).unsqueeze(1).to(dtype)
