"""Assigners: which priors learn which objects."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.models.assigners.fcos_assigner import FCOSAssigner
    from detkit.models.assigners.hungarian_assigner import HungarianAssigner
    from detkit.models.assigners.keypoint_task_aligned_assigner import KeypointTaskAlignedAssigner
    from detkit.models.assigners.mask_task_aligned_assigner import MaskTaskAlignedAssigner
    from detkit.models.assigners.match_costs import (
        BBoxL1Cost,
        ClassCost,
        FocalClassCost,
        GIoUCost,
        ProbIoUCost,
        ScoreIoUCost,
    )
    from detkit.models.assigners.max_iou_assigner import MaxIoUAssigner
    from detkit.models.assigners.prior_samplers import RandomPriorSampler
    from detkit.models.assigners.rotated_hungarian_assigner import RotatedHungarianAssigner
    from detkit.models.assigners.rotated_task_aligned_assigner import RotatedTaskAlignedAssigner
    from detkit.models.assigners.sim_ota_assigner import SimOTAAssigner
    from detkit.models.assigners.task_aligned_assigner import TaskAlignedAssigner
    from detkit.models.assigners.yolov3_anchor_assigner import YOLOv3AnchorAssigner
    from detkit.models.assigners.yolov5_anchor_assigner import YOLOv5AnchorAssigner

__getattr__ = lazy_names(
    __name__,
    {
        'BBoxL1Cost': 'match_costs',
        'ClassCost': 'match_costs',
        'FocalClassCost': 'match_costs',
        'GIoUCost': 'match_costs',
        'HungarianAssigner': 'hungarian_assigner',
        'KeypointTaskAlignedAssigner': 'keypoint_task_aligned_assigner',
        'MaskTaskAlignedAssigner': 'mask_task_aligned_assigner',
        'ProbIoUCost': 'match_costs',
        'RotatedHungarianAssigner': 'rotated_hungarian_assigner',
        'RotatedTaskAlignedAssigner': 'rotated_task_aligned_assigner',
        'ScoreIoUCost': 'match_costs',
        'SimOTAAssigner': 'sim_ota_assigner',
        'TaskAlignedAssigner': 'task_aligned_assigner',
        'YOLOv3AnchorAssigner': 'yolov3_anchor_assigner',
        'YOLOv5AnchorAssigner': 'yolov5_anchor_assigner',
        'MaxIoUAssigner': 'max_iou_assigner',
        'FCOSAssigner': 'fcos_assigner',
        'RandomPriorSampler': 'prior_samplers',
    },
)

__all__ = [
    'BBoxL1Cost',
    'ClassCost',
    'FocalClassCost',
    'GIoUCost',
    'HungarianAssigner',
    'KeypointTaskAlignedAssigner',
    'MaskTaskAlignedAssigner',
    'ProbIoUCost',
    'RotatedHungarianAssigner',
    'RotatedTaskAlignedAssigner',
    'ScoreIoUCost',
    'YOLOv3AnchorAssigner',
    'YOLOv5AnchorAssigner',
    'SimOTAAssigner',
    'TaskAlignedAssigner',
    'MaxIoUAssigner',
    'FCOSAssigner',
    'RandomPriorSampler',
]
