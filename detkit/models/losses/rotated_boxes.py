"""Losses of rotated boxes, and the probabilistic overlap that they use."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import AngleLoss, RotatedBoxLoss
from detkit.registry import LOSSES

from .base_loss import BaseLoss

# Upper limit of Bhattacharyya distances; there is no overlap beyond it.
_MAX_DISTANCE = 100.0


def prob_iou(rbboxes: Tensor, targets: Tensor, extra_variance: float = 0.0, eps: float = 1e-7) -> Tensor:
    """Return the overlap of each rotated box with the target of the same index by ProbIoU (arXiv:2106.06072).

    A box is taken as the normal distribution with its centre and covariance: variances w²/12 and h²/12 along its sides.
    The overlap is 1 - the Hellinger distance of the two distributions: smooth, above 0 for boxes that do not touch, and
    for squares independent of their angles.

    Args:
        rbboxes, targets: ``(..., 5)``, broadcast against each other.
        extra_variance: added to all variances, so that very small boxes have no steep gradients.
        eps: keeps quotients and roots finite.

    Returns:
        ``(...)`` in [0, 1].
    """
    xx, yy, xy, det = _covariance(rbboxes, extra_variance)
    target_xx, target_yy, target_xy, target_det = _covariance(targets, extra_variance)
    sum_xx, sum_yy, sum_xy = xx + target_xx, yy + target_yy, xy + target_xy
    dx = rbboxes[..., 0] - targets[..., 0]
    dy = rbboxes[..., 1] - targets[..., 1]
    det_sum = sum_xx * sum_yy - sum_xy**2
    mahalanobis = (sum_xx * dy**2 + sum_yy * dx**2 - 2 * sum_xy * dx * dy) / (det_sum + eps)
    spread = torch.log(det_sum / (4 * (det * target_det).sqrt() + eps) + eps)
    distance = (mahalanobis / 4 + spread / 2).clamp(eps, _MAX_DISTANCE)
    return 1 - (1 - torch.exp(-distance) + eps).sqrt()


def _covariance(rbboxes: Tensor, extra_variance: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the entries xx, yy and xy of the covariance matrices of boxes ``(..., 5)``, and their determinants."""
    along, across = rbboxes[..., 2] ** 2 / 12 + extra_variance, rbboxes[..., 3] ** 2 / 12 + extra_variance
    cos, sin = rbboxes[..., 4].cos(), rbboxes[..., 4].sin()
    xx, yy = along * cos**2 + across * sin**2, along * sin**2 + across * cos**2
    return xx, yy, (along - across) * cos * sin, along * across


@LOSSES.register_module()
class ProbIoULoss(BaseLoss, RotatedBoxLoss):
    """Loss 1 - ``prob_iou``.

    Args:
        extra_variance: see ``prob_iou``, in square units of the boxes given.
        loss_weight: factor of the result.
    """

    def __init__(self, extra_variance: float = 0.01, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.extra_variance = extra_variance

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the loss, a scalar; arguments as in ``RotatedBoxLoss``."""
        losses = 1 - prob_iou(pred, target, self.extra_variance)
        return self.reduce(losses, weight, avg_factor)


@LOSSES.register_module()
class RotationLoss(BaseLoss, AngleLoss):
    """Loss exp(-ln²(w / h) / softness²) · sin²(2 Δangle) of the newer releases of ultralytics (no paper).

    The sine has a period of a quarter turn, as a nearly square box may be described in either way; a box much longer
    than wide, whose angle the overlap loss teaches well, has little weight.

    Args:
        softness: scale on which the weight falls with the aspect ratio.
        loss_weight: factor of the result.
    """

    def __init__(self, softness: float = 3.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.softness = softness

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the loss, a scalar; arguments as in ``AngleLoss``."""
        aspect = torch.log(target[..., 2] / target[..., 3])
        importance = torch.exp(-((aspect / self.softness) ** 2))
        losses = importance * torch.sin(2 * (pred - target[..., 4])) ** 2
        return self.reduce(losses, weight, avg_factor)
