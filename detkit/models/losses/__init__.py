"""Losses: functions of raw predictions and targets that return a scalar times their ``loss_weight``."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.models.losses.boxes import IoULoss, L1Loss, SmoothL1Loss, aligned_iou
    from detkit.models.losses.classification import (
        BinaryCrossEntropyLoss,
        BinaryFocalLoss,
        CrossEntropyLoss,
        DistillationLoss,
        DistributionFocalLoss,
    )
    from detkit.models.losses.keypoint_likelihood import RLELoss
    from detkit.models.losses.keypoints import KeypointLoss, KeypointVisibilityLoss
    from detkit.models.losses.masks import MaskDiceLoss, MaskFocalLoss, ProtoMaskLoss
    from detkit.models.losses.quality import IoUAwareBCELoss, MatchabilityAwareLoss, VarifocalLoss
    from detkit.models.losses.rotated_boxes import ProbIoULoss, RotationLoss, prob_iou

__getattr__ = lazy_names(
    __name__,
    {
        'BinaryCrossEntropyLoss': 'classification',
        'BinaryFocalLoss': 'classification',
        'CrossEntropyLoss': 'classification',
        'DistillationLoss': 'classification',
        'DistributionFocalLoss': 'classification',
        'IoUAwareBCELoss': 'quality',
        'IoULoss': 'boxes',
        'KeypointLoss': 'keypoints',
        'KeypointVisibilityLoss': 'keypoints',
        'L1Loss': 'boxes',
        'MaskDiceLoss': 'masks',
        'MaskFocalLoss': 'masks',
        'MatchabilityAwareLoss': 'quality',
        'ProbIoULoss': 'rotated_boxes',
        'ProtoMaskLoss': 'masks',
        'RLELoss': 'keypoint_likelihood',
        'RotationLoss': 'rotated_boxes',
        'SmoothL1Loss': 'boxes',
        'VarifocalLoss': 'quality',
        'aligned_iou': 'boxes',
        'prob_iou': 'rotated_boxes',
    },
)

__all__ = [
    'BinaryCrossEntropyLoss',
    'BinaryFocalLoss',
    'CrossEntropyLoss',
    'DistillationLoss',
    'DistributionFocalLoss',
    'IoUAwareBCELoss',
    'IoULoss',
    'KeypointLoss',
    'KeypointVisibilityLoss',
    'L1Loss',
    'MaskDiceLoss',
    'MaskFocalLoss',
    'MatchabilityAwareLoss',
    'ProbIoULoss',
    'ProtoMaskLoss',
    'RLELoss',
    'RotationLoss',
    'SmoothL1Loss',
    'VarifocalLoss',
    'aligned_iou',
    'prob_iou',
]
