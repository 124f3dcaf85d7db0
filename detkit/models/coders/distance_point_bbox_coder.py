"""``DistancePointBBoxCoder``: a box as the distances from a point to its four sides."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import DistanceCoder
from detkit.registry import CODERS


@CODERS.register_module()
class DistancePointBBoxCoder(DistanceCoder):
    """Boxes as distances (left, top, right, bottom) from a point, in the point's strides (FCOS, arXiv:1904.01355).

    A network may regress each distance as a distribution over the integers 0 ... ``reg_max - 1``, whose mean it is
    (Generalized Focal Loss, arXiv:2006.04388).

    Args:
        reg_max: number of bins of a distribution; 1 means that the network regresses the distance itself.
        margin: encoded distances are clamped to ``[0, reg_max - 1 - margin]``, so that a target always lies between
            two bins. Without bins there is no upper limit.
    """

    def __init__(self, reg_max: int = 16, margin: float = 0.01) -> None:
        self.reg_max = reg_max
        self.margin = margin

    def encode(self, points: Tensor, bboxes: Tensor, strides: Tensor | float = 1.0) -> Tensor:
        """Distances of ``bboxes`` from ``points``.

        Args:
            points: ``(..., 2)`` pixels.
            bboxes: ``(..., 4)`` xyxy pixels.
            strides: ``(...)`` pixels a unit of distance.

        Returns:
            ``(..., 4)``, clamped to what ``decode`` can give back.
        """
        scale = _column(strides)
        distances = torch.cat([points - bboxes[..., :2], bboxes[..., 2:] - points], -1) / scale
        return distances.clamp(0, self.reg_max - 1 - self.margin if self.reg_max > 1 else None)

    def decode(self, points: Tensor, distances: Tensor, strides: Tensor | float = 1.0) -> Tensor:
        """Boxes ``(..., 4)`` xyxy in pixels; the inverse of ``encode``, with the same shapes."""
        distances = distances * _column(strides)
        return torch.cat([points - distances[..., :2], points + distances[..., 2:]], -1)

    def mean_distances(self, bbox_preds: Tensor) -> Tensor:
        """The distances that raw predictions ``(..., 4 * reg_max)`` stand for: ``(..., 4)`` in strides."""
        if self.reg_max == 1:
            return bbox_preds
        bins = torch.arange(self.reg_max, dtype=bbox_preds.dtype, device=bbox_preds.device)
        return bbox_preds.unflatten(-1, (4, self.reg_max)).softmax(-1) @ bins  # (..., 4, reg_max) -> (..., 4)


def _column(strides: Tensor | float) -> Tensor | float:
    return strides.unsqueeze(-1) if isinstance(strides, Tensor) else strides
