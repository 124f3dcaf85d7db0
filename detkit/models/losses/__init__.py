"""Losses. Each takes raw predictions, multiplies by its ``loss_weight`` and returns one number."""

from .binary_cross_entropy_loss import BinaryCrossEntropyLoss
from .binary_focal_loss import BinaryFocalLoss
from .cross_entropy_loss import CrossEntropyLoss
from .distribution_focal_loss import DistributionFocalLoss
from .iou_loss import IoULoss, aligned_iou
from .keypoint_loss import KeypointLoss, KeypointVisibilityLoss
from .l1_loss import L1Loss
from .mask_dice_loss import MaskDiceLoss
from .mask_focal_loss import MaskFocalLoss
from .mask_loss import ProtoMaskLoss
from .prob_iou_loss import ProbIoULoss, prob_iou
from .rotation_loss import RotationLoss

__all__ = [
    'BinaryCrossEntropyLoss',
    'BinaryFocalLoss',
    'CrossEntropyLoss',
    'DistributionFocalLoss',
    'IoULoss',
    'KeypointLoss',
    'KeypointVisibilityLoss',
    'L1Loss',
    'MaskDiceLoss',
    'MaskFocalLoss',
    'ProtoMaskLoss',
    'ProbIoULoss',
    'RotationLoss',
    'aligned_iou',
    'prob_iou',
]
