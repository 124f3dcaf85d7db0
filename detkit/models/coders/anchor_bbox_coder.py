"""``AnchorBBoxCoder``: a box as its centre's place near a cell and its size relative to an anchor."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import AnchorCoder

from .distance_point_bbox_coder import _column


class AnchorBBoxCoder(AnchorCoder):
    """Parent of the coders of anchors: raw predictions (x, y, w, h) of a cell <-> boxes.

    A child says what the four numbers mean, in ``_shifts`` and ``_ratios`` and their inverses.
    """

    def decode(self, points: Tensor, sizes_wh: Tensor, bbox_preds: Tensor, strides: Tensor | float = 1.0) -> Tensor:
        """Boxes ``(..., 4)`` xyxy in the unit of the arguments.

        Args:
            points: ``(..., 2)`` centres of the cells.
            sizes_wh: ``(..., 2)`` of the anchors.
            bbox_preds: ``(..., 4)`` raw.
            strides: ``(...)`` or a number, the side of a cell.
        """
        centres = points + self._shifts(bbox_preds[..., :2]) * _column(strides)
        halves = self._ratios(bbox_preds[..., 2:]) * sizes_wh / 2
        return torch.cat([centres - halves, centres + halves], -1)

    def encode(self, points: Tensor, sizes_wh: Tensor, bboxes: Tensor, strides: Tensor | float = 1.0) -> Tensor:
        """Raw predictions ``(..., 4)`` that stand for ``bboxes (..., 4)``, or for the nearest that can be told."""
        shifts = ((bboxes[..., :2] + bboxes[..., 2:]) / 2 - points) / _column(strides)
        ratios = (bboxes[..., 2:] - bboxes[..., :2]) / sizes_wh
        return torch.cat([self._raw_shifts(shifts), self._raw_ratios(ratios)], -1)

    def _shifts(self, raw: Tensor) -> Tensor:
        """The box's centre relative to the cell's, in cells."""
        raise NotImplementedError

    def _ratios(self, raw: Tensor) -> Tensor:
        """The box's width and height relative to the anchor's."""
        raise NotImplementedError

    def _raw_shifts(self, shifts: Tensor) -> Tensor:
        raise NotImplementedError

    def _raw_ratios(self, ratios: Tensor) -> Tensor:
        raise NotImplementedError
