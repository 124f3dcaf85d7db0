"""Assigners: which priors learn which objects."""

from .assign_result import AssignResult
from .rotated_task_aligned_assigner import RotatedTaskAlignedAssigner
from .shape_iou_assigner import ShapeIoUAssigner
from .shape_ratio_assigner import ShapeRatioAssigner
from .task_aligned_assigner import TaskAlignedAssigner

__all__ = [
    'AssignResult', 'RotatedTaskAlignedAssigner', 'ShapeIoUAssigner', 'ShapeRatioAssigner', 'TaskAlignedAssigner',
]
