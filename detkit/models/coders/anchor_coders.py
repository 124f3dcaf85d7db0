"""Coders of boxes as shifts and ratios of anchors: those of YOLOv3, YOLOv5 and YOLOX."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from detkit.protocols import AnchorCoder
from detkit.registry import CODERS

from .distance_coders import _column

# Least distance of a sigmoid from 0 and 1 when it is inverted.
_MARGIN = 1e-6


class AnchorBBoxCoder(AnchorCoder):
    """Base of the coders of anchors: raw predictions (x, y, w, h) of a cell <-> boxes.

    A child defines the meaning of the four numbers in ``_shifts`` and ``_ratios`` and their inverses.
    """

    def decode(self, points: Tensor, sizes_wh: Tensor, bbox_preds: Tensor, strides: Tensor | float = 1.0) -> Tensor:
        """Return boxes ``(..., 4)``, xyxy in the unit of the arguments.

        Args:
            points: ``(..., 2)``, centres of the cells.
            sizes_wh: ``(..., 2)``, widths and heights of the anchors.
            bbox_preds: ``(..., 4)``, raw.
            strides: ``(...)`` or a number, the side of a cell.
        """
        centres = points + self._shifts(bbox_preds[..., :2]) * _column(strides)
        halves = self._ratios(bbox_preds[..., 2:]) * sizes_wh / 2
        return torch.cat([centres - halves, centres + halves], -1)

    def encode(self, points: Tensor, sizes_wh: Tensor, bboxes: Tensor, strides: Tensor | float = 1.0) -> Tensor:
        """Return raw predictions ``(..., 4)`` for ``bboxes (..., 4)``, or for the nearest that can be represented."""
        shifts = ((bboxes[..., :2] + bboxes[..., 2:]) / 2 - points) / _column(strides)
        ratios = (bboxes[..., 2:] - bboxes[..., :2]) / sizes_wh
        return torch.cat([self._raw_shifts(shifts), self._raw_ratios(ratios)], -1)

    def _shifts(self, raw: Tensor) -> Tensor:
        """Return the centre of the box relative to that of the cell, in cells."""
        raise NotImplementedError

    def _ratios(self, raw: Tensor) -> Tensor:
        """Return the width and height of the box relative to the anchor's."""
        raise NotImplementedError

    def _raw_shifts(self, shifts: Tensor) -> Tensor:
        raise NotImplementedError

    def _raw_ratios(self, ratios: Tensor) -> Tensor:
        raise NotImplementedError


class ExponentialBBoxCoder(AnchorBBoxCoder):
    """Base of the coders whose w, h = anchor · exp.

    Args:
        max_ratio: upper limit of the exponential, which could otherwise overflow early in training.
    """

    def __init__(self, max_ratio: float = 1000.0) -> None:
        if max_ratio <= 1:
            raise ValueError(f'{type(self).__name__}: max_ratio must be more than 1, found {max_ratio}')
        self.max_ratio = max_ratio

    def _ratios(self, raw: Tensor) -> Tensor:
        # Limited before the exponential: the gradient of an infinity clamped away would be NaN.
        return raw.clamp(max=log(self.max_ratio)).exp()

    def _raw_ratios(self, ratios: Tensor) -> Tensor:
        return ratios.clamp(_MARGIN, self.max_ratio).log()


@CODERS.register_module()
class YOLOv3BBoxCoder(ExponentialBBoxCoder):
    """x, y = sigmoid + corner of the cell; w, h = anchor · exp (arXiv:1804.02767, section 2.1).

    Args:
        max_ratio: see ``ExponentialBBoxCoder``.
    """

    def _shifts(self, raw: Tensor) -> Tensor:
        return raw.sigmoid() - 0.5

    def _raw_shifts(self, shifts: Tensor) -> Tensor:
        return (shifts + 0.5).logit(_MARGIN)


@CODERS.register_module()
class YOLOXBBoxCoder(ExponentialBBoxCoder):
    """x, y = corner of the cell + shift in cells; w, h = anchor · exp (arXiv:2107.08430, section 2.1).

    YOLOX has one anchor in a cell, which is the cell itself.

    Args:
        max_ratio: see ``ExponentialBBoxCoder``.
    """

    def _shifts(self, raw: Tensor) -> Tensor:
        return raw - 0.5

    def _raw_shifts(self, shifts: Tensor) -> Tensor:
        return shifts + 0.5


@CODERS.register_module()
class YOLOv5BBoxCoder(AnchorBBoxCoder):
    """x, y = 2 sigmoid - .5 + corner of the cell; w, h = anchor · (2 sigmoid)² (https://doi.org/10.5281/zenodo.3908559).

    A neighbouring cell can predict a box whose centre lies near its border, and sizes are bounded.
    """

    def _shifts(self, raw: Tensor) -> Tensor:
        return 2 * raw.sigmoid() - 1

    def _ratios(self, raw: Tensor) -> Tensor:
        return (2 * raw.sigmoid()) ** 2

    def _raw_shifts(self, shifts: Tensor) -> Tensor:
        return ((shifts + 1) / 2).logit(_MARGIN)

    def _raw_ratios(self, ratios: Tensor) -> Tensor:
        return (ratios.clamp(min=0).sqrt() / 2).logit(_MARGIN)
