"""Coders of boxes, upright or rotated, as distances from a point to their sides."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from detkit.protocols import DistanceCoder, RotatedCoder
from detkit.registry import CODERS


@CODERS.register_module()
class DistancePointBBoxCoder(DistanceCoder):
    """Coder of boxes as distances (left, top, right, bottom) from a point, in strides (FCOS, arXiv:1904.01355).

    A network may regress each distance as a distribution over the integers 0 ... ``reg_max - 1``, whose mean it is
    (Generalized Focal Loss, arXiv:2006.04388).

    Args:
        reg_max: number of bins of a distribution; 1 means that the network regresses the distance itself.
        margin: encoded distances are clamped to ``[0, reg_max - 1 - margin]``, so that a target always lies between
            two bins. Without bins there are no limits; a point outside its box has negative distances.
    """

    def __init__(self, reg_max: int = 16, margin: float = 0.01) -> None:
        self.reg_max = reg_max
        self.margin = margin

    def encode(self, points: Tensor, bboxes: Tensor, strides: Tensor | float = 1.0) -> Tensor:
        """Return the distances of the sides of ``bboxes`` from ``points``.

        Args:
            points: ``(..., 2)`` in pixels.
            bboxes: ``(..., 4)``, xyxy in pixels.
            strides: ``(...)``, pixels per unit of distance.

        Returns:
            ``(..., 4)``, in the range that ``decode`` inverts.
        """
        scale = _column(strides)
        distances = torch.cat([points - bboxes[..., :2], bboxes[..., 2:] - points], -1) / scale
        return self._clamped(distances)

    def _clamped(self, distances: Tensor) -> Tensor:
        return distances.clamp(0, self.reg_max - 1 - self.margin) if self.reg_max > 1 else distances

    def decode(self, points: Tensor, distances: Tensor, strides: Tensor | float = 1.0) -> Tensor:
        """Return boxes ``(..., 4)``, xyxy in pixels: the inverse of ``encode``, with the same shapes."""
        distances = distances * _column(strides)
        return torch.cat([points - distances[..., :2], points + distances[..., 2:]], -1)

    def mean_distances(self, bbox_preds: Tensor) -> Tensor:
        """Return the distances ``(..., 4)`` in strides that raw predictions ``(..., 4 * reg_max)`` mean."""
        if self.reg_max == 1:
            return bbox_preds
        bins = torch.arange(self.reg_max, dtype=bbox_preds.dtype, device=bbox_preds.device)
        return bbox_preds.unflatten(-1, (4, self.reg_max)).softmax(-1) @ bins  # (..., 4, reg_max) -> (..., 4)


def _column(strides: Tensor | float) -> Tensor | float:
    return strides.unsqueeze(-1) if isinstance(strides, Tensor) else strides


@CODERS.register_module()
class RotatedDistanceCoder(DistancePointBBoxCoder, RotatedCoder):
    """Coder of rotated boxes as the distances from a point to the sides, in the frame of the box, and its angle.

    The point need not lie inside the box's upright hull, nor the box's centre near the point: the difference of
    opposite distances, rotated by the angle, leads from the point to the centre.
    """

    def encode(self, points: Tensor, bboxes: Tensor, strides: Tensor | float = 1.0) -> Tensor:
        """Return the distances of the sides of rotated boxes from points.

        Args:
            points: ``(..., 2)`` in pixels.
            bboxes: ``(..., 5)``, rotated, in pixels.
            strides: ``(...)``, pixels per unit of distance.

        Returns:
            ``(..., 4)``, in the range that ``decode`` inverts.
        """
        cos, sin = bboxes[..., 4].cos(), bboxes[..., 4].sin()
        dx, dy = (bboxes[..., :2] - points).unbind(-1)
        shift = torch.stack([dx * cos + dy * sin, dy * cos - dx * sin], -1)  # of the centre, in the box's frame
        half = bboxes[..., 2:4] / 2
        distances = torch.cat([half - shift, half + shift], -1) / _column(strides)
        return self._clamped(distances)

    def decode(
        self, points: Tensor, distances: Tensor, strides: Tensor | float = 1.0, angles: Tensor | None = None
    ) -> Tensor:
        """Return rotated boxes ``(..., 5)`` in pixels: the inverse of ``encode``.

        Args:
            points, distances, strides: see ``encode``.
            angles: ``(...)`` in radians, returned unchanged; 0 by default. Either side may be the longer one.
        """
        angles = torch.zeros_like(distances[..., 0]) if angles is None else angles
        distances = distances * _column(strides)
        low, high = distances[..., :2], distances[..., 2:]
        shift_x, shift_y = ((high - low) / 2).unbind(-1)
        cos, sin = angles.cos(), angles.sin()
        centres = points + torch.stack([shift_x * cos - shift_y * sin, shift_x * sin + shift_y * cos], -1)
        return torch.cat([centres, low + high, angles.unsqueeze(-1)], -1)

    @staticmethod
    def angles(angle_logits: Tensor) -> Tensor:
        """Return the angles in [-pi/4, 3pi/4) that raw predictions of any shape mean."""
        return (angle_logits.sigmoid() - 0.25) * pi

    @staticmethod
    def angle_logits(angles: Tensor) -> Tensor:
        """Return the raw predictions of angles: the inverse of ``angles``."""
        return torch.logit(angles / pi + 0.25)


@CODERS.register_module()
class FreeAngleDistanceCoder(RotatedDistanceCoder, RotatedCoder):
    """``RotatedDistanceCoder`` of a network that regresses the angle itself, without bounds, as YOLO26 does."""

    @staticmethod
    def angles(angle_logits: Tensor) -> Tensor:
        """Return the angles in radians that raw predictions of any shape mean, which are these themselves."""
        return angle_logits

    @staticmethod
    def angle_logits(angles: Tensor) -> Tensor:
        """Return the raw predictions of angles: the inverse of ``angles``."""
        return angles
