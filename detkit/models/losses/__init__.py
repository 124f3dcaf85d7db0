"""Losses: functions of raw predictions and targets that return a scalar times their ``loss_weight``."""

from .boxes import IoULoss, L1Loss, aligned_iou
from .classification import BinaryCrossEntropyLoss, BinaryFocalLoss, CrossEntropyLoss, DistributionFocalLoss
from .keypoints import KeypointLoss, KeypointVisibilityLoss
from .masks import MaskDiceLoss, MaskFocalLoss, ProtoMaskLoss
from .rotated_boxes import ProbIoULoss, RotationLoss, prob_iou

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
