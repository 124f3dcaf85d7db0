"""Losses of boxes, and the overlap measures that they use."""

from __future__ import annotations

from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.protocols import BoxLoss, CoordinateLoss, OverlapLoss
from detkit.registry import LOSSES

from .base_loss import BaseLoss

IOU_MODES = ('iou', 'giou', 'diou', 'ciou')


def aligned_iou(bboxes: Tensor, targets: Tensor, mode: str = 'iou', eps: float = 1e-7) -> Tensor:
    """Return the overlap of each box with the target of the same index.

    It is the IoU. GIoU subtracts the share of the enclosing box that neither covers (arXiv:1902.09630). DIoU subtracts
    the squared distance of the centres over that of the enclosing box's corners, and CIoU also a term for differing
    aspect ratios (both arXiv:1911.08287).

    Args:
        bboxes, targets: ``(..., 4)`` xyxy, broadcast against each other.
        mode: one of ``IOU_MODES``.
        eps: keeps quotients finite for boxes without area.

    Returns:
        ``(...)``, at most 1; IoU at least 0, GIoU and DIoU above -1.
    """
    x0, y0, x1, y1 = bboxes.unbind(-1)
    tx0, ty0, tx1, ty1 = targets.unbind(-1)
    w, h, tw, th = x1 - x0, y1 - y0 + eps, tx1 - tx0, ty1 - ty0 + eps
    overlap_w = torch.minimum(x1, tx1) - torch.maximum(x0, tx0)
    overlap_h = torch.minimum(y1, ty1) - torch.maximum(y0, ty0)
    intersection = overlap_w.clamp(min=0) * overlap_h.clamp(min=0)
    union = w * h + tw * th - intersection + eps
    iou = intersection / union
    if mode == 'iou':
        return iou
    hull_w = torch.maximum(x1, tx1) - torch.minimum(x0, tx0)
    hull_h = torch.maximum(y1, ty1) - torch.minimum(y0, ty0)
    if mode == 'giou':
        hull = hull_w * hull_h + eps
        return iou - (hull - union) / hull
    if mode not in IOU_MODES:
        raise ValueError(f'mode must be one of {IOU_MODES}, found {mode!r}')
    centre_distance = ((tx0 + tx1 - x0 - x1) ** 2 + (ty0 + ty1 - y0 - y1) ** 2) / 4
    diou = iou - centre_distance / (hull_w**2 + hull_h**2 + eps)
    if mode == 'diou':
        return diou
    aspect = (4 / pi**2) * (torch.atan(tw / th) - torch.atan(w / h)) ** 2
    with torch.no_grad():  # a trade-off factor, not differentiated (the paper, section 4)
        trade_off = aspect / (aspect - iou + (1 + eps))
    return diou - trade_off * aspect


@LOSSES.register_module()
class IoULoss(BaseLoss, OverlapLoss):
    """Loss 1 - overlap.

    Args:
        mode: the overlap, one of 'iou', 'giou', 'diou', 'ciou'.
        loss_weight: factor of the result.
        eps: keeps quotients finite for boxes without area, in the unit of the boxes; much smaller than an area.
        power: exponent of the overlap; 2 is YOLOX's loss 1 - IoU². The others than the IoU may be negative and take 1.

    Raises:
        ValueError: there is no such mode, or ``power`` is not 1 with another overlap than the IoU.
    """

    def __init__(self, mode: str = 'ciou', loss_weight: float = 1.0, eps: float = 1e-7, power: float = 1.0) -> None:
        super().__init__(loss_weight)
        if mode not in IOU_MODES:
            raise ValueError(f'IoULoss mode must be one of {IOU_MODES}, found {mode!r}')
        if power <= 0 or (power != 1 and mode != 'iou'):
            raise ValueError(f"IoULoss power must be above 0, and 1 unless mode is 'iou', found {power} with {mode!r}")
        self.mode = mode
        self.eps = eps
        self.power = power

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the loss, a scalar; arguments as in ``BoxLoss``."""
        return self.from_overlaps(self.overlaps(pred, target), weight, avg_factor)

    def overlaps(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the overlaps ``(...)`` of boxes ``(..., 4)``, by the loss's mode."""
        return aligned_iou(pred, target, self.mode, self.eps)

    def from_overlaps(
        self, overlaps: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the loss of boxes whose ``overlaps`` are known; arguments as in ``forward``."""
        return self.reduce(1 - (overlaps if self.power == 1 else overlaps**self.power), weight, avg_factor)


@LOSSES.register_module()
class L1Loss(BaseLoss, BoxLoss, CoordinateLoss):
    """Sum of the absolute differences of coordinates.

    Args:
        loss_weight: factor of the result.
    """

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the loss, a scalar; arguments as in ``CoordinateLoss``."""
        return self.reduce((pred - target).abs().sum(-1), weight, avg_factor)


@LOSSES.register_module()
class SmoothL1Loss(BaseLoss, BoxLoss, CoordinateLoss):
    """Sum over coordinates of x² / (2 β) where the absolute difference x is below β, else x - β / 2 (arXiv:1504.08083).

    Args:
        beta: β, above 0.
        loss_weight: factor of the result.
    """

    def __init__(self, beta: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if beta <= 0:
            raise ValueError(f'SmoothL1Loss: beta must be above 0, found {beta}')
        self.beta = beta

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the loss, a scalar; arguments as in ``CoordinateLoss``."""
        losses = F.smooth_l1_loss(pred, target, beta=self.beta, reduction='none')
        return self.reduce(losses.sum(-1), weight, avg_factor)
