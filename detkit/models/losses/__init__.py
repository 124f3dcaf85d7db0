"""Losses. Each takes raw predictions, multiplies by its ``loss_weight`` and returns one number."""

from .binary_cross_entropy_loss import BinaryCrossEntropyLoss
from .distribution_focal_loss import DistributionFocalLoss
from .iou_loss import IoULoss, aligned_iou
from .mask_loss import MaskLoss

__all__ = ['BinaryCrossEntropyLoss', 'DistributionFocalLoss', 'IoULoss', 'MaskLoss', 'aligned_iou']
