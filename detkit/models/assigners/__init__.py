"""Assigners: which priors learn which objects."""

from .assign_result import AssignResult
from .hungarian_assigner import HungarianAssigner
from .match_costs import BBoxL1Cost, ClassCost, GIoUCost
from .rotated_task_aligned_assigner import RotatedTaskAlignedAssigner
from .shape_iou_assigner import ShapeIoUAssigner
from .shape_ratio_assigner import ShapeRatioAssigner
from .task_aligned_assigner import TaskAlignedAssigner

__all__ = [
    'AssignResult', 'BBoxL1Cost', 'ClassCost', 'GIoUCost', 'HungarianAssigner', 'RotatedTaskAlignedAssigner',
    'ShapeIoUAssigner', 'ShapeRatioAssigner', 'TaskAlignedAssigner',
]
