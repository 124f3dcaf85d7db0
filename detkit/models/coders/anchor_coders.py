"""Boxes as shifts and ratios of anchors: YOLOv3's and YOLOv5's."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from detkit.protocols import AnchorCoder
from detkit.registry import CODERS

from .distance_coders import _column


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


# How near a sigmoid is taken to come to 0 and 1 when it is inverted.
_MARGIN = 1e-6


@CODERS.register_module()
class YOLOv3BBoxCoder(AnchorBBoxCoder):
    """x, y = sigmoid + corner of the cell; w, h = anchor · exp (arXiv:1804.02767, section 2.1).

    Args:
        max_ratio: limit of the exponential. What exceeds it is no box; without a limit an early step of training can
            reach infinity.
    """

    def __init__(self, max_ratio: float = 1000.0) -> None:
        if max_ratio <= 1:
            raise ValueError(f'YOLOv3BBoxCoder: max_ratio must be more than 1, found {max_ratio}')
        self.max_ratio = max_ratio

    def _shifts(self, raw: Tensor) -> Tensor:
        return raw.sigmoid() - 0.5

    def _ratios(self, raw: Tensor) -> Tensor:
        # Limited before the exponential: the gradient of an infinity clamped away would be NaN.
        return raw.clamp(max=log(self.max_ratio)).exp()

    def _raw_shifts(self, shifts: Tensor) -> Tensor:
        return (shifts + 0.5).logit(_MARGIN)

    def _raw_ratios(self, ratios: Tensor) -> Tensor:
        return ratios.clamp(_MARGIN, self.max_ratio).log()


# How near a sigmoid is taken to come to 0 and 1 when it is inverted.
_MARGIN = 1e-6


@CODERS.register_module()
class YOLOv5BBoxCoder(AnchorBBoxCoder):
    """x, y = 2 sigmoid - .5 + corner of the cell; w, h = anchor · (2 sigmoid)² (https://doi.org/10.5281/zenodo.3908559).

    So a neighbouring cell can tell a box whose centre lies near its border, and no size can run away.
    """

    def _shifts(self, raw: Tensor) -> Tensor:
        return 2 * raw.sigmoid() - 1

    def _ratios(self, raw: Tensor) -> Tensor:
        return (2 * raw.sigmoid()) ** 2

    def _raw_shifts(self, shifts: Tensor) -> Tensor:
        return ((shifts + 1) / 2).logit(_MARGIN)

    def _raw_ratios(self, ratios: Tensor) -> Tensor:
        return (ratios.clamp(min=0).sqrt() / 2).logit(_MARGIN)
